# SPDX-License-Identifier: Apache-2.0

"""Ways in which Nova and stable_rescue can be installed together.

A layout is a virtual environment of its own with nothing in it but Nova and
stable_rescue. Everything else is seen through a path file, in a folder of links to
what is installed beside these tests: so a layout costs seconds, not minutes.
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
# Nova, ourselves, and what an editable install of ours leaves in a site directory.
NOT_A_DEPENDENCY = re.compile(
    r"(nova|stable_rescue)(-.*)?$|__editable__|__pycache__|.*\.pth$", re.IGNORECASE
)
# Seconds; far above what is needed, so that nothing hangs for ever.
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
    """Run a command in the environment given; its output is kept, errors included."""
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
    """One virtual environment below a folder, and what was installed into it."""

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
        """Add a folder to the environment's path, after its own site directory."""
        (self.site / f"{folder.name}.pth").write_text(f"{folder}\n")

    def pip(self, *arguments: str) -> None:
        """Run pip for the environment.

        :raises AssertionError: with pip's output, where it fails.
        """
        result = run(
            [sys.executable, "-m", "pip", "--python", str(self.python), *arguments],
            INSTALL_TIMEOUT,
            # Neither tree is a repository that pbr could ask for its version.
            {**os.environ, "PBR_VERSION": NOVA_VERSION},
        )
        if result.returncode:
            raise AssertionError(f"pip {' '.join(arguments)}:\n{result.stdout}")

    def install(self, *what: str) -> None:
        """Install without dependencies, building in the environment itself."""
        self.pip("install", "--no-deps", "--no-build-isolation", "--no-compile", *what)

    def nova_wheel(self) -> str:
        return f"nova=={NOVA_VERSION}"

    def nova_source(self) -> str:
        """Return the folder of Nova's unpacked sdist."""
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
            # Debian 12's Python knows no filter yet.
            sdist.extractall(self.folder)
        return str(self.folder / archive.name.removesuffix(".tar.gz"))

    def our_source(self) -> str:
        """Return a copy of our own tree, so that nothing is built in the original."""
        copy = self.folder / "stable-rescue"
        names = ["setup.py", "setup.cfg", "pyproject.toml", "requirements.txt"]
        for name in [*names, "README.rst", "LICENSE"]:
            copy.mkdir(exist_ok=True)
            shutil.copy(PROJECT / name, copy)
        for tree in ("stable_rescue", "etc"):
            shutil.copytree(PROJECT / tree, copy / tree)
        return str(copy)

    def start_compute(self, compute_driver: str, *options: str) -> "Started":
        """Return what comes of nova-compute with a driver; it is started only once.

        The options are those of start_compute.py.
        """
        key = (compute_driver, *options)
        if key not in self._started:
            self._started[key] = self._start_compute(*key)
        return self._started[key]

    def forget_starts(self) -> None:
        """Have nova-compute started anew, after the installation was changed."""
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
            # HOME: stevedore keeps its cache of entry points there.
            {"PATH": os.defpath, "HOME": str(folder), "LANG": "C.UTF-8"},
        )
        log = folder / "nova-compute.log"
        text = log.read_text() if log.exists() else ""
        return Started(result.returncode, result.stdout + text, report)


class Started:
    """What came of one start of nova-compute."""

    def __init__(self, status: int, log: str, report: Path) -> None:
        self.status = status
        self.log = log
        self._report = report

    @property
    def report(self) -> dict[str, Any]:
        """The report of start_compute.py.

        :raises AssertionError: with the log, where nova-compute did not get so far.
        """
        if self.status or not self._report.exists():
            raise AssertionError(f"nova-compute ended with {self.status}:\n{self.log}")
        report: dict[str, Any] = json.loads(self._report.read_text())
        return report

    def modules(self, when: str = "modules") -> set[str]:
        """Return our own modules and Nova's libvirt driver, as far as imported."""
        return {
            name
            for name in self.report[when]
            if name.partition(".")[0] == "stable_rescue"
            or name in ("nova.virt.stable_rescue", "nova.virt.libvirt.driver")
        }
