# SPDX-License-Identifier: Apache-2.0

"""Environments with Nova and stable_rescue, installed in different ways."""

import atexit
import functools
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.functional.activation.environments import (
    PROJECT,
    START_TIMEOUT,
    Environment,
    run,
)
from tests.functional.activation.shared_nova import SharedNova

START_COMPUTE = Path(__file__).with_name("start_compute.py")

NOVA_CONF = """\
[DEFAULT]
compute_driver = {compute_driver}
transport_url = fake:/
state_path = {folder}
log_file = {folder}/nova-compute.log
host = activation
[libvirt]
virt_type = qemu
"""


def copy_stable_rescue(folder: Path) -> str:
    """Return a copy of this repository, so that pip builds nothing in it."""
    copy = folder / "stable-rescue"
    copy.mkdir()
    names = ["setup.py", "setup.cfg", "pyproject.toml", "requirements.txt"]
    for name in [*names, "README.rst", "LICENSE"]:
        shutil.copy(PROJECT / name, copy)
    for tree in ("stable_rescue", "etc"):
        shutil.copytree(PROJECT / tree, copy / tree)
    return str(copy)


@functools.cache
def stable_rescue_wheel() -> str:
    """Return a wheel of this repository, which this process builds once."""
    folder = Path(tempfile.mkdtemp(prefix="stable-rescue-wheel-"))
    atexit.register(shutil.rmtree, folder)
    options = ("--no-deps", "--no-build-isolation", f"--wheel-dir={folder}")
    Environment(folder).pip("wheel", *options, copy_stable_rescue(folder))
    (wheel,) = folder.glob("*.whl")
    return str(wheel)


class Layout(Environment):
    """An environment with Nova, to which a test adds stable_rescue."""

    def __init__(self, folder: Path, nova: SharedNova) -> None:
        super().__init__(folder)
        self._started: dict[tuple[str, ...], Started] = {}
        self.link(nova.entries())

    def start_compute(self, compute_driver: str, *options: str) -> "Started":
        """Return the result of starting nova-compute; the same start is done once.

        :param options: options of start_compute.py
        """
        key = (compute_driver, *options)
        if key not in self._started:
            self._started[key] = self._start_compute(*key)
        return self._started[key]

    def check_upgrade(self) -> dict[str, dict[str, Any]]:
        """Run stable-rescue-status; return the results of its checks by title."""
        folder = Path(tempfile.mkdtemp(prefix="check-", dir=self.folder))
        conf = folder / "nova.conf"
        driver = "stable_rescue.StableRescueDriver"
        conf.write_text(NOVA_CONF.format(compute_driver=driver, folder=folder))
        command = self.python.with_name("stable-rescue-status")
        process = subprocess.run(
            [command, "--config-file", conf, "upgrade", "check", "--json"],
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT,
            check=False,
        )
        if not process.stdout:
            raise AssertionError(process.stderr)
        return {each["check"]: each for each in json.loads(process.stdout)["checks"]}

    def discard_starts(self) -> None:
        """Start nova-compute again from now on, because the installation changed."""
        self._started.clear()

    def _start_compute(self, compute_driver: str, *options: str) -> "Started":
        folder = Path(tempfile.mkdtemp(prefix="start-", dir=self.folder))
        conf = folder / "nova.conf"
        conf.write_text(NOVA_CONF.format(compute_driver=compute_driver, folder=folder))
        report = folder / "report.json"
        script = [str(self.python), str(START_COMPUTE), str(report), *options]
        command = [*script, "--", "--config-file", str(conf)]
        result = run(command, START_TIMEOUT, self.variables)
        log = folder / "nova-compute.log"
        text = log.read_text() if log.exists() else ""
        return Started(result.returncode, result.stdout + text, report)


class Started:
    """The result of one start of nova-compute."""

    def __init__(self, status: int, log: str, report: Path) -> None:
        self.status = status
        self.log = log
        self._report = report

    @property
    def report(self) -> dict[str, Any]:
        """The report of start_compute.py.

        :raises AssertionError: nova-compute did not start; the message has its log
        """
        if self.status or not self._report.exists():
            raise AssertionError(f"nova-compute ended with {self.status}:\n{self.log}")
        report: dict[str, Any] = json.loads(self._report.read_text())
        return report

    def modules(self, when: str = "modules") -> set[str]:
        """Return the imported modules of stable_rescue and of Nova's libvirt driver."""
        return {
            name
            for name in self.report[when]
            if name.partition(".")[0] == "stable_rescue"
            or name in ("nova.virt.stable_rescue", "nova.virt.libvirt.driver")
        }
