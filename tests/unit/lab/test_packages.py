# SPDX-License-Identifier: Apache-2.0
"""The releases of Nova that the lab can install."""

import unittest

from lab import packages
from lab.errors import LabError


class RequirementsTest(unittest.TestCase):
    def test_requirements_of_a_major_number_are_its_newest(self) -> None:
        self.assertIn("nova==31.*", packages.requirements("31"))
        self.assertIn("nova==31.0.1", packages.requirements("31.0.1"))

    def test_requirements_of_an_untested_release_are_refused(self) -> None:
        for version in ("30.0.0", "35.0.0", "master"):
            with self.assertRaisesRegex(LabError, "31.x to 34.x"):
                packages.requirements(version)
