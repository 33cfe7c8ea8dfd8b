# SPDX-License-Identifier: Apache-2.0

"""The list of intended differences is correct."""

import inspect
import unittest
from collections import Counter

from tests.nova import intended, test_libvirt, test_manager


class TestIntended(unittest.TestCase):
    """Each difference is about rescue, has a number, is unique and exists."""

    def test_differences_are_about_rescue_or_unrescue(self) -> None:
        for difference in intended.INTENDED:
            with self.subTest(difference.method):
                # test_public_api_signatures is about rescue by its failure only.
                subject = f"{difference.method} {difference.failure}"
                self.assertRegex(subject, "rescue")
                self.assertRegex(difference.reason, "rescue")

    def test_differences_have_number_of_nova_difference(self) -> None:
        for difference in intended.INTENDED:
            with self.subTest(difference.method):
                self.assertRegex(difference.number, r"^U([1-9]|[12]\d|3[0-3])$")

    def test_differences_are_listed_once(self) -> None:
        names = Counter((each.case, each.method) for each in intended.INTENDED)
        self.assertEqual([], [name for name, count in names.items() if count > 1])

    def test_differences_exist_in_their_releases_only(self) -> None:
        for difference in intended.INTENDED:
            with self.subTest(difference.method):
                self.assertEqual(difference.in_this_release, exists(difference))


def exists(difference: intended.Difference) -> bool:
    """Return True if the test is among those that run with a substitution."""
    return any(
        hasattr(case, difference.method)
        for module in (test_libvirt, test_manager)
        for case in vars(module).values()
        if inspect.isclass(case) and case.__doc__ == difference.case
    )
