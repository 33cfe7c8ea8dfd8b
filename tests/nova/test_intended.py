# SPDX-License-Identifier: Apache-2.0

"""The list of what we change on purpose is right."""

import inspect
import unittest
from collections import Counter

from tests.nova import intended, test_libvirt, test_manager


class TestList(unittest.TestCase):
    """What stands in the list."""

    def test_each_is_of_rescue_or_unrescue(self) -> None:
        for change in intended.INTENDED:
            with self.subTest(change.method):
                # By its name, or as what it names is of rescue.
                self.assertRegex(f"{change.method} {change.failure}", "rescue")
                self.assertRegex(change.reason, "rescue")

    def test_each_names_what_ours_does_better(self) -> None:
        for change in intended.INTENDED:
            with self.subTest(change.method):
                self.assertRegex(change.requirement, r"^U([1-9]|[12]\d|3[0-3])$")

    def test_each_stands_once(self) -> None:
        names = Counter((change.case, change.method) for change in intended.INTENDED)
        self.assertEqual([], [name for name, times in names.items() if times > 1])

    def test_each_is_there_in_its_releases_alone(self) -> None:
        for change in intended.INTENDED:
            with self.subTest(change.method):
                self.assertEqual(change.in_this_release, exists(change))


def exists(change: intended.Change) -> bool:
    """Whether it is among the tests of Nova's that are run with our classes."""
    return any(
        hasattr(case, change.method)
        for module in (test_libvirt, test_manager)
        for case in vars(module).values()
        if inspect.isclass(case) and case.__doc__ == change.case
    )
