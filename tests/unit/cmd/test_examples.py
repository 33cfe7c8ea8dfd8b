# SPDX-License-Identifier: Apache-2.0
"""The examples have plans, and README shows the real one."""

import contextlib
import io
import re
import shlex
from pathlib import Path
from unittest import mock

from oslotest import base

from stable_rescue.cmd import main
from tests.unit.cmd import screens

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples").glob("*.xml"))


def screen(*words: str) -> str:
    """Run stable-rescue in the project's folder; return what it prints.

    :raises AssertionError: if it fails
    """
    written = io.BytesIO()
    stdout = io.TextIOWrapper(written, encoding="utf-8")
    with mock.patch("sys.stdout", stdout), contextlib.chdir(ROOT):
        status = main.main(words)
    if status != main.SUCCESS:
        raise AssertionError(f"{words} ended with {status}")
    return written.getvalue().decode()


class ExamplesTest(base.BaseTestCase):
    def test_every_example_has_a_plan_that_moves_nothing(self) -> None:
        self.assertEqual(3, len(EXAMPLES))
        for path in EXAMPLES:
            plan = screen("plan", "--domain-xml", str(path))
            self.assertRegex(plan, r"moved: 0 of \d\d\n", path.name)

    def test_list_of_examples_is_complete_and_its_command_works(self) -> None:
        text = (ROOT / "examples" / "README.rst").read_text()
        for path in EXAMPLES:
            self.assertIn(f"``{path.name}``", text)
        (command,) = re.findall(r"(?m)^    stable-rescue (plan .*)$", text)
        self.assertIn("disk sdb", screen(*shlex.split(command)))

    def test_readme_shows_the_screen_of_its_command(self) -> None:
        text = (ROOT / "README.rst").read_text()
        command, block = re.search(
            r"(?m)^    \$ stable-rescue (plan .*examples.*)\n((?:    .*\n|\n)+)", text
        ).groups()
        shown = screens.lines_of(block)
        self.assertGreater(len(shown.splitlines()), 20)
        printed = screen(*shlex.split(command))
        self.assertEqual(("", ""), screens.difference(shown, printed))
