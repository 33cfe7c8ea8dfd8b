# SPDX-License-Identifier: Apache-2.0
"""stestr's workers share the slow classes by the times in a table."""

import re
import unittest
from pathlib import Path

from tests import seconds

ROOT = Path(__file__).resolve().parents[2]


class SecondsTest(unittest.TestCase):
    def test_each_class_in_the_table_exists(self) -> None:
        for name in seconds.OF_CLASSES:
            module, _, case = name.rpartition(".")
            text = ROOT.joinpath(*module.split(".")).with_suffix(".py").read_text()
            self.assertRegex(text, rf"(?m)^class {re.escape(case)}\(")

    def test_tests_share_the_time_of_their_class(self) -> None:
        name, total = next(iter(seconds.OF_CLASSES.items()))
        tests = [f"{name}.test_one", f"{name}.test_two"]
        times = seconds.of_tests(tests)
        self.assertEqual(dict.fromkeys(tests, total / 2), times)

    def test_tests_of_other_classes_take_the_time_of_their_folder(self) -> None:
        tests = ["tests.unit.test_a.A.test_a", "tests.functional.test_b.B.test_b"]
        unit, functional = seconds.of_tests(tests).values()
        self.assertLess(unit, functional)

    def test_module_that_cannot_be_imported_has_a_time(self) -> None:
        test = "unittest.loader._FailedTest.tests.unit.test_a"
        self.assertGreater(seconds.of_tests([test])[test], 0)
