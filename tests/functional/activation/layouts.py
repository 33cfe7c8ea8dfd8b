# SPDX-License-Identifier: Apache-2.0

"""Virtual environments with Nova and stable_rescue, installed in different ways.

A layout contains nothing but Nova and stable_rescue. A path file makes it import all
other packages from the environment of these tests, through a folder of links. So a
layout is built in seconds.
"""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[3]
START_COMPUTE = Path(__file__).with_name("start_compute.py")
NOVA_VERSION = importlib.metadata.version("nova")
# Nova, stable_rescue, and the files that an editable install adds to a site directory.
NOT_A_DEPENDENCY = re.compile(
    r"(nova|stable_rescue)(-.*)?$|__editable__|__pycache__|.*\.pth$", re.IGNORECASE
)
# In seconds, and generous: they only keep a test from hanging.
INSTALL_TIMEOUT = 240
START_TIMEOUT = 240

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


def run(
    command: list[str], timeout: float, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command; its output and errors are captured together."""
    return subprocess.run(
        command,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )


class Layout:
    """One virtual environment below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: dict[tuple[str, ...], Started] = {}
        environment = folder / "venv"
        venv.create(environment, with_pip=False, symlinks=True)
        self.python = environment / "bin" / "python"
        self.site = Path(
            sysconfig.get_path("purelib", "venv", {"base": str(environment)})
        )
        self._link_dependencies()

    def _link_dependencies(self) -> None:
        dependencies = self.folder / "dependencies"
        dependencies.mkdir()
        for entry in Path(sysconfig.get_path("purelib")).iterdir():
            if not NOT_A_DEPENDENCY.match(entry.name):
                (dependencies / entry.name).symlink_to(entry)
        self.see(dependencies)

    def see(self, folder: Path) -> None:
        """Add a folder to the environment's path, after the site directory."""
        (self.site / f"{folder.name}.pth").write_text(f"{folder}\n")

    def pip(self, *arguments: str) -> None:
        """Run pip for the environment.

        :raises AssertionError: pip failed; the message is its output
        """
        result = run(
            [sys.executable, "-m", "pip", "--python", str(self.python), *arguments],
            INSTALL_TIMEOUT,
            # pbr finds no version in these trees, because they are no repositories.
            {**os.environ, "PBR_VERSION": NOVA_VERSION},
        )
        if result.returncode:
            raise AssertionError(f"pip {' '.join(arguments)}:\n{result.stdout}")

    def install(self, *sources: str) -> None:
        """Install packages without their dependencies."""
        options = ("--no-deps", "--no-build-isolation", "--no-compile")
        self.pip("install", *options, *sources)

    def nova_wheel(self) -> str:
        """Return the requirement for which pip installs Nova's wheel."""
        return f"nova=={NOVA_VERSION}"

    def nova_source(self) -> str:
        """Download Nova's sdist; return the folder that it is unpacked to."""
        self.pip(
            "download",
            "--no-deps",
            "--no-build-isolation",
            "--no-binary=nova",
            f"--dest={self.folder}",
            self.nova_wheel(),
        )
        (archive,) = self.folder.glob("nova-*.tar.gz")
        with tarfile.open(archive) as sdist:
            # The Python of Debian 12 does not support filters yet.
            sdist.extractall(self.folder)
        return str(self.folder / archive.name.removesuffix(".tar.gz"))

    def stable_rescue_source(self) -> str:
        """Return a copy of this repository, so that pip builds nothing in it."""
        copy = self.folder / "stable-rescue"
        names = ["setup.py", "setup.cfg", "pyproject.toml", "requirements.txt"]
        for name in [*names, "README.rst", "LICENSE"]:
            copy.mkdir(exist_ok=True)
            shutil.copy(PROJECT / name, copy)
        for tree in ("stable_rescue", "etc"):
            shutil.copytree(PROJECT / tree, copy / tree)
        return str(copy)

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
            env={"PATH": os.defpath, "HOME": str(folder), "LANG": "C.UTF-8"},
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
        result = run(
            [*script, "--", "--config-file", str(conf)],
            START_TIMEOUT,
            # stevedore caches entry points below HOME.
            {"PATH": os.defpath, "HOME": str(folder), "LANG": "C.UTF-8"},
        )
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
