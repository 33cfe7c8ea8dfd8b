# SPDX-License-Identifier: Apache-2.0

"""Commands of the documents that install something, as a user would type them."""

import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from oslotest import base

from lab import manual
from tests.functional.test_packaging import PROJECT, build_wheel

TIMEOUT = 240  # seconds


def commands_of(page: str, *programs: str) -> list[str]:
    """Return the commands of a page that begin like this."""
    commands = manual.commands((PROJECT / page).read_text())
    return [command for command in commands if command.startswith(programs)]


class TypedCommandsTest(base.BaseTestCase):
    """pip has no network here, and finds the requirements in the tests' environment."""

    folder: ClassVar[Path]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        clone = cls.folder / "clone"
        subprocess.run(
            ["git", "clone", "--quiet", "--no-tags", str(PROJECT), str(clone)],
            check=True,
            timeout=TIMEOUT,
        )
        cls.wheel = build_wheel(clone, cls.folder / "wheels")

    def type(self, folder: Path, commands: Iterable[str]) -> str:
        """Type commands into one shell; return what they print."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {
            **os.environ,
            "PATH": path,
            "PYTHONPATH": sysconfig.get_path("purelib"),
            "PIP_NO_INDEX": "1",
            "PIP_NO_DEPS": "1",
            # This package is in the tests' environment as well.
            "PIP_IGNORE_INSTALLED": "1",
            # pip reads this as: do not isolate builds.
            "PIP_NO_BUILD_ISOLATION": "0",
            "HOME": str(self.folder),
        }
        result = subprocess.run(
            ["bash", "-exc", "\n".join(commands)],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        self.assertEqual(0, result.returncode, result.stdout + result.stderr)
        return result.stdout

    def test_quick_start_of_readme_prints_a_plan(self) -> None:
        commands = commands_of("README.rst", "python3 -m venv", "/tmp/try", "PATH=/tmp")
        self.assertEqual(3, len(commands))
        (plan,) = commands_of("README.rst", "stable-rescue plan --domain-xml examples")
        environment = str(self.folder / "try")
        typed = [each.replace("/tmp/try", environment) for each in (*commands, plan)]
        printed = self.type(self.folder / "clone", [*typed, "command -v stable-rescue"])
        self.assertIn("moved: 0 of 34\n", printed)
        self.assertIn(f"{environment}/bin/stable-rescue\n", printed)

    def test_wheel_is_installed_with_and_without_requirements(self) -> None:
        commands = commands_of("doc/source/install.rst", "pip install")
        commands += commands_of("README.rst", "pip install")
        self.assertEqual(2, len(commands))
        typed = [
            f"python3 -m venv {self.folder}/nova",
            f"PATH={self.folder}/nova/bin:$PATH",
        ]
        program = self.folder / "nova" / "bin" / "stable-rescue"
        for command in commands:
            typed += [f"rm -f {program}", command, f"test -x {program}"]
        self.type(self.wheel.parent, typed)

    def test_tempest_is_set_up_with_the_plugin(self) -> None:
        page = "doc/source/tempest.rst"
        commands = commands_of(page, "python3 -m venv", "tempest/bin/", "cd ")
        self.assertEqual(4, len(commands))
        # Without requirements, the environment has no program of this name.
        program, module = (
            "tempest/bin/tempest",
            "tempest/bin/python -m tempest.cmd.main",
        )
        typed = [command.replace(program, module) for command in commands]
        listing = f"../{module} list-plugins"
        printed = self.type(self.wheel.parent, [*typed, "test -d etc", listing])
        self.assertIn("stable_rescue", printed)
