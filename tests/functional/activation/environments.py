# SPDX-License-Identifier: Apache-2.0

"""Virtual environments that import most packages from the environment of these tests.

A path file makes an environment import them through a folder of links. Only Nova and
stable_rescue have to be installed.
"""

import importlib.metadata
import os
import re
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterable, Mapping
from pathlib import Path

PROJECT = Path(__file__).parents[3]
NOVA_VERSION = importlib.metadata.version("nova")
# Nova, stable_rescue, and the files that an editable install adds to a site directory.
NOT_A_DEPENDENCY = re.compile(
    r"(nova|stable_rescue)(-.*)?$|__editable__|__pycache__|.*\.pth$", re.IGNORECASE
)
# In seconds, and generous: they only keep a test from hanging.
INSTALL_TIMEOUT = 240
START_TIMEOUT = 240


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


class Environment:
    """One virtual environment below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        venv.create(folder / "venv", with_pip=False, symlinks=True)
        self.python = folder / "venv" / "bin" / "python"
        self.site = self.site_of(folder)
        self._link_dependencies()

    @staticmethod
    def site_of(folder: Path) -> Path:
        """Return the site directory of the environment below a folder."""
        base = {"base": str(folder / "venv")}
        return Path(sysconfig.get_path("purelib", "venv", base))

    def _link_dependencies(self) -> None:
        dependencies = self.folder / "dependencies"
        dependencies.mkdir()
        installed = Path(sysconfig.get_path("purelib")).iterdir()
        self.link(
            (each for each in installed if not NOT_A_DEPENDENCY.match(each.name)),
            dependencies,
        )
        self.see(dependencies)

    def link(self, entries: Iterable[Path], folder: Path | None = None) -> None:
        """Link files and packages into a folder, by default the site directory."""
        for entry in entries:
            ((folder or self.site) / entry.name).symlink_to(entry)

    def see(self, folder: Path) -> None:
        """Add a folder to the environment's path, after the site directory."""
        (self.site / f"{folder.name}.pth").write_text(f"{folder}\n")

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables with which a program runs."""
        # stevedore caches entry points below HOME.
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        return {"PATH": os.defpath, "HOME": str(home), "LANG": "C.UTF-8"}

    def run_python(self, *arguments: str) -> None:
        """Run the environment's Python.

        :raises AssertionError: Python failed; the message is its output
        """
        command = [str(self.python), *arguments]
        result = run(command, START_TIMEOUT, self.variables)
        if result.returncode:
            raise AssertionError(result.stdout)

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
