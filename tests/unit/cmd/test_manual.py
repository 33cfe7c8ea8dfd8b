# SPDX-License-Identifier: Apache-2.0
"""The page of the command, which is also its manual page, and its completion."""

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import unittest
from pathlib import Path

import fixtures
from oslotest import base

from stable_rescue.cmd import exits, main

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "doc" / "source" / "cli.rst").read_text()
HAS_ARGCOMPLETE = importlib.util.find_spec("argcomplete") is not None


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """Return the long options of a parser and of its commands."""
    found: set[str] = set()
    for action in parser._actions:
        found |= {word for word in action.option_strings if word.startswith("--")}
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                found |= options_of(command)
    return found


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the commands of a parser by name."""
    (action,) = (
        each for each in parser._actions if isinstance(each, argparse._SubParsersAction)
    )
    return dict(action.choices)


class PageTest(base.BaseTestCase):
    def test_synopsis_has_every_option_and_no_other(self) -> None:
        synopsis = PAGE.partition("Synopsis\n")[2].partition("\n``")[0]
        self.assertEqual(
            options_of(main.parser()), set(re.findall(r"--[a-z-]+", synopsis))
        )
        for command in commands_of(main.parser()):
            usages = re.finditer(
                rf"(?m)^    stable-rescue {command} .*\n( {{5,}}.*\n)*", synopsis
            )
            words = re.findall(r"--[a-z-]+", "".join(usage[0] for usage in usages))
            options = options_of(commands_of(main.parser())[command])
            self.assertEqual(options - {"--help"}, {*words} - {"--help"}, command)

    def test_every_option_is_described(self) -> None:
        described = set(re.findall(r"(?m)^   \* - ``(--[a-z-]+)", PAGE))
        self.assertEqual(options_of(main.parser()) - {"--help", "--version"}, described)

    def test_every_exit_status_is_described(self) -> None:
        table = PAGE.partition("\nExit status\n")[2].partition("Completion")[0]
        statuses = {
            value
            for name, value in vars(exits).items()
            if name.isupper() and isinstance(value, int)
        }
        described = re.findall(r"(?m)^   \* - (\d+)$", table)
        self.assertEqual(sorted(statuses), sorted(map(int, described)))


@unittest.skipUnless(HAS_ARGCOMPLETE, "argcomplete is not installed")
class CompletionTest(base.BaseTestCase):
    def complete(self, line: str) -> set[str]:
        """Return what a shell offers at the end of a command line."""
        path = Path(self.useFixture(fixtures.TempDir()).path) / "completions"
        inherited = os.environ.get("PYTHONPATH")
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), inherited))),
            "_ARGCOMPLETE": "1",
            "_ARGCOMPLETE_IFS": "\n",
            "_ARGCOMPLETE_STDOUT_FILENAME": str(path),
            "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
            "COMP_LINE": line,
            "COMP_POINT": str(len(line)),
        }
        code = "from stable_rescue.cmd import main; main.main()"
        command = [sys.executable, "-c", code]
        subprocess.run(command, env=environment, check=True, timeout=60)
        return {word.strip() for word in path.read_text().splitlines()}

    def test_options_are_completed(self) -> None:
        self.assertEqual(
            {"--medium", "--medium-format"}, self.complete("stable-rescue plan --me")
        )

    def test_buses_and_properties_are_completed(self) -> None:
        line = "stable-rescue plan --fallback-bus s"
        self.assertEqual({"scsi", "sata"}, self.complete(line))
        line = "stable-rescue plan --property hw_rescue_dev"
        self.assertEqual(
            {f"hw_rescue_device={device}" for device in ("disk", "cdrom", "floppy")},
            self.complete(line),
        )

    def test_line_of_the_manual_registers_the_completion(self) -> None:
        (line,) = re.findall(r"(?m)^    (eval .*)$", PAGE)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        shell = subprocess.run(
            ["bash", "-ec", f"{line}\ncomplete -p stable-rescue"],
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        self.assertIn("argcomplete", shell.stdout)
