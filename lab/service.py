# SPDX-License-Identifier: Apache-2.0
"""What every service of the lab is, and the little that all of them share.

A module in ``lab/services`` names its classes in ``SERVICES``, in any order. The runner
(lab/runner.py) takes each through

    configure -> prepare (once) -> start -> ready -> populate (once)

as soon as every service named in ``requires`` is through; independent ones go on side
by side, in threads. Each step is idempotent.
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
    #: What ``prepare`` needs, if less than ``requires``: a database alone, say.
    prepare_requires: ClassVar[tuple[str, ...] | None] = None
    #: Seconds from start to ready.
    deadline: ClassVar[float] = 120

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    # -- the steps, for subclasses to fill in -------------------------------------

    def configure(self) -> None:
        """Write configuration files; needs no process, may be called at any time."""

    def prepare(self) -> None:
        """Create databases and data before the first start; called once a lab."""

    def start(self) -> None:
        """Start what is not running yet."""

    def ready(self) -> bool:
        """Return whether it does its work; quick, never raises on 'not yet'."""
        return self.running()

    def populate(self) -> None:
        """Create what needs the running service; called once a lab."""

    def stop(self) -> None:
        """End every process of it; fine if there is none."""
        self.terminate()

    def needs(self) -> tuple[str, ...]:
        """Return what must be ready before it starts, if more than ``requires``."""
        return self.requires

    # -- what they are made of ----------------------------------------------------

    def spawn(
        self,
        argv: Sequence[str],
        *,
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Start ``argv`` in the sandbox in the background, unless it runs already.

        Output goes to ``.lab/log/NAME.log``, of which one older generation is kept.
        ``name`` defaults to the service's.
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
        """Return whether the process ``name`` runs."""
        return self.lab.sandbox.alive(self.lab.pid_file(name or self.name))

    def said(self, words: str, times: int = 1) -> bool:
        """Return whether its process has logged ``words`` so often since it started."""
        try:
            return (
                self.lab.log(self.name).read_text(errors="replace").count(words)
                >= times
            )
        except OSError:
            return False

    def terminate(self, name: str | None = None, seconds: float = 10) -> None:
        """End the process ``name``: TERM, and KILL after ``seconds``."""
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

        Raises LabError, with what the command said, if it fails.
        """
        return self.lab.sandbox.run(
            argv, env=env, cwd=cwd or self.lab.state, stdin=stdin, seconds=seconds
        ).stdout

    def render(self, template: str, target: Path, values: Mapping[str, str]) -> Path:
        """Write ``target`` from lab/templates/``template``; only root may read it.

        Raises LabError where the template wants a value that is not given.
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
        """Wait until ``ready``; raise LabError after ``deadline``, or if it ended."""
        wait_until(
            f"{self.name} to be ready",
            self.ready,
            self.deadline,
            log=self.lab.log(self.name),
        )


class VolumeBackend(Service):
    """A service that is a storage array to Cinder and Nova.

    Its name is the name of Cinder's section and of ``volume_backend_name`` as well.
    """

    #: Cinder's volume type for it, the same as its name.
    volume_type: ClassVar[str]

    def cinder_backend_section(self) -> dict[str, str]:
        """Return the options of its section in cinder.conf."""
        raise NotImplementedError

    def nova_libvirt_options(self) -> dict[str, str]:
        """Return what nova-compute's [libvirt] section needs for its volumes."""
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
    """Wait until ``predicate`` returns true.

    Raises LabError with ``hint`` and the last lines of ``log`` after the deadline.
    """
    deadline = time.monotonic() + deadline_seconds
    while not predicate():
        if time.monotonic() > deadline:
            lines = [f"Waited {deadline_seconds:g} seconds for {what} in vain."]
            if hint:
                lines.append(hint)
            if log is not None:
                lines += [f"The end of {log}:", tail(log)]
            raise LabError("\n".join(lines))
        time.sleep(interval)


def tail(log: Path, lines: int = 25) -> str:
    """Return the last lines of ``log``, or a word that there are none."""
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
