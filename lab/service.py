# SPDX-License-Identifier: Apache-2.0
"""The base class of the lab's services.

A module in ``lab/services`` names its classes in ``SERVICES``, in any order. The runner
(lab/runner.py) takes each service through these steps

    configure -> prepare (once) -> start -> ready -> populate (once)

as soon as every service named in ``requires`` has finished them. Independent services
take them in parallel, in threads. Each step is idempotent.
"""

from __future__ import annotations

import string
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from lab.config import Lab, private_opener
from lab.errors import LabError

TEMPLATES = Path(__file__).parent / "templates"


class Service:
    """One service of the lab; most have one process, named like the service."""

    name: ClassVar[str]
    #: Names of the services that must be ready, and populated, before this starts.
    requires: ClassVar[tuple[str, ...]] = ()
    #: What ``prepare`` needs, if that is less than ``requires``, such as a database.
    prepare_requires: ClassVar[tuple[str, ...] | None] = None
    #: Seconds from start to ready.
    deadline: ClassVar[float] = 120

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    # -- the steps, for subclasses to fill in -------------------------------------

    def configure(self) -> None:
        """Write configuration files; needs no process and may be called at any time."""

    def prepare(self) -> None:
        """Create databases and data before the first start; called once per lab."""

    def start(self) -> None:
        """Start what is not running yet."""

    def ready(self) -> bool:
        """Return True if the service works; be quick, and raise nothing if not."""
        return self.running()

    def populate(self) -> None:
        """Create what needs the running service; called once per lab."""

    def stop(self) -> None:
        """End every process of the service; do nothing if none runs."""
        self.terminate()

    def needs(self) -> tuple[str, ...]:
        """Return the services that must be ready first, if more than ``requires``."""
        return self.requires

    # -- for use in the steps -----------------------------------------------------

    def spawn(
        self,
        argv: Sequence[str],
        *,
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Start ``argv`` in the background, in the sandbox, unless it already runs.

        Output goes to ``.lab/log/NAME.log``; one older generation is kept. ``name``
        defaults to the name of the service.
        """
        name = name or self.name
        if self.running(name):
            return
        log = self.lab.log(name)
        if log.exists():
            log.replace(log.with_suffix(".log.old"))
        self.lab.sandbox.spawn(
            argv,
            pid_file=self.lab.pid_file(name),
            log=log,
            cwd=cwd or self.lab.state,
            env=env,
        )

    def running(self, name: str | None = None) -> bool:
        """Return True if the process ``name`` runs."""
        return self.lab.sandbox.alive(self.lab.pid_file(name or self.name))

    def has_logged(self, words: str, times: int = 1) -> bool:
        """Return True if the process has logged ``words`` at least ``times`` times."""
        try:
            text = self.lab.log(self.name).read_text(errors="replace")
        except OSError:
            return False
        return text.count(words) >= times

    def terminate(self, name: str | None = None, seconds: float = 10) -> None:
        """End the process ``name`` with TERM, and after ``seconds`` with KILL."""
        if self.lab.sandbox.running():
            self.lab.sandbox.terminate(self.lab.pid_file(name or self.name), seconds)

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: str | None = None,
        seconds: float = 300,
    ) -> str:
        """Run ``argv`` in the sandbox to its end; return its standard output.

        :raises LabError: with the output, if the command fails
        """
        return self.lab.sandbox.run(
            argv, env=env, cwd=cwd or self.lab.state, stdin=stdin, seconds=seconds
        ).stdout

    def render(self, template: str, target: Path, values: Mapping[str, str]) -> Path:
        """Write ``target`` from lab/templates/``template``; only root may read it.

        :raises LabError: if a value that the template uses is missing
        """
        text = (TEMPLATES / template).read_text()
        try:
            filled = string.Template(text).substitute(values)
        except (KeyError, ValueError) as error:
            raise LabError(f"lab/templates/{template}: {error!r}") from error
        return self.write(target, filled)

    def write(self, target: Path, text: str) -> Path:
        """Write ``text`` to ``target``; only root may read it."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, "w", opener=private_opener) as file:
            file.write(text)
        return target

    def wait_ready(self) -> None:
        """Wait until the service is ready.

        :raises LabError: if it is not ready after ``deadline`` seconds
        """
        wait_until(
            f"{self.name} to be ready",
            self.ready,
            self.deadline,
            log=self.lab.log(self.name),
        )


class VolumeBackend(Service):
    """A service that is a storage backend of Cinder and Nova.

    ``name`` is also the section in cinder.conf and the ``volume_backend_name``.
    """

    #: Cinder's volume type for this backend, the same as ``name``.
    volume_type: ClassVar[str]

    def cinder_backend_section(self) -> dict[str, str]:
        """Return the options of this backend's section in cinder.conf."""
        raise NotImplementedError

    def nova_libvirt_options(self) -> dict[str, str]:
        """Return what nova-compute's [libvirt] section needs for these volumes."""
        return {}


def wait_until(
    what: str,
    predicate: Callable[[], bool],
    deadline_seconds: float,
    *,
    log: Path | None = None,
    hint: str = "",
    interval: float = 0.1,
) -> None:
    """Wait until ``predicate`` returns True.

    :raises LabError: after the deadline, with ``hint`` and the last lines of ``log``
    """
    deadline = time.monotonic() + deadline_seconds
    while not predicate():
        if time.monotonic() > deadline:
            lines = [f"Gave up waiting for {what} after {deadline_seconds:g} seconds."]
            if hint:
                lines.append(hint)
            if log is not None:
                lines += [f"The end of {log}:", tail(log)]
            raise LabError("\n".join(lines))
        time.sleep(interval)


def tail(log: Path, lines: int = 25) -> str:
    """Return the last lines of ``log``, or the reason why it cannot be read."""
    try:
        text = log.read_text(errors="replace")
    except OSError as error:
        return f"({error.strerror})"
    return "\n".join(text.splitlines()[-lines:]) or "(empty)"


def ini(sections: Mapping[str, Mapping[str, str]]) -> str:
    """Return ``sections`` in the syntax of oslo.config's files."""
    return "\n".join(
        "\n".join([f"[{name}]", *(f"{key} = {value}" for key, value in body.items())])
        + "\n"
        for name, body in sections.items()
    )
