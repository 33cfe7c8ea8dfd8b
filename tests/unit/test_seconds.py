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

    def test_class_in_the_table_takes_its_time_despite_a_record(self) -> None:
        name, total = next(iter(seconds.OF_CLASSES.items()))
        tests = [f"{name}.test_one", f"{name}.test_two"]
        times = seconds.of_tests(tests, {tests[0]: 1000.0})
        self.assertEqual(dict.fromkeys(tests, total / 2), times)

    def test_other_class_takes_its_recorded_time(self) -> None:
        times = seconds.of_tests(["a.B.test_one", "a.B.test_two"], {"a.B.test_one": 2})
        expected = {"a.B.test_one": 2, "a.B.test_two": seconds.OF_OTHERS}
        self.assertEqual(expected, times)
