# SPDX-License-Identifier: Apache-2.0

"""The levels that tools/test runs."""

import contextlib
import importlib.machinery
import importlib.util
import io
import unittest
from pathlib import Path
from types import ModuleType

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "test"


def load_script() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("tools_test", str(SCRIPT))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    script = importlib.util.module_from_spec(spec)
    loader.exec_module(script)
    return script


class ChosenLevelsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.script = load_script()

    def chosen(self, *arguments: str) -> list[str]:
        return list(self.script.chosen_levels(list(arguments)))

    def rejected(self, *arguments: str) -> str:
        """Assert that a command line is rejected, and return the reason."""
        with (
            contextlib.redirect_stderr(io.StringIO()) as reason,
            self.assertRaises(SystemExit),
        ):
            self.chosen(*arguments)
        return reason.getvalue()

    def test_default_is_newest_nova_and_part_of_older_releases(self) -> None:
        newest = ["pep8", "mypy", "py3", "functional", "nova-tests", "integration"]
        older = ["nova31-quick", "nova32-quick", "nova33-quick"]
        self.assertEqual(newest + older, self.chosen())

    def test_all_includes_every_release_in_full(self) -> None:
        levels = self.chosen("--all")
        self.assertLessEqual({*self.script.LEVELS, *self.script.RELEASES}, {*levels})
        self.assertFalse([level for level in levels if level.endswith("-quick")])

    def test_quick_is_lint_types_and_unit_tests(self) -> None:
        self.assertEqual(["pep8", "mypy", "py3"], self.chosen("quick"))

    def test_named_levels_run_in_the_given_order_once(self) -> None:
        self.assertEqual(["py3", "pep8", "mypy"], self.chosen("py3", "quick", "py3"))

    def test_unknown_level_is_rejected_by_name(self) -> None:
        self.assertIn("unknown level: slow", self.rejected("py3", "slow"))

    def test_level_beside_all_is_rejected(self) -> None:
        self.assertIn("--all", self.rejected("--all", "py3"))
