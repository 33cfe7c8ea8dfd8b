# SPDX-License-Identifier: Apache-2.0
"""What pip is asked for."""

import unittest

from lab import packages
from lab.errors import LabError


class RequirementsTest(unittest.TestCase):
    def test_what_ran_is_what_is_installed(self) -> None:
        # LAB.md, "Python": the set that ran, of 2026.2.
        wanted = packages.requirements("34.0.0")
        for requirement in (
            "nova==34.0.0",
            "keystone==30.*",
            "glance==33.*",
            "openstack-placement==16.*",
            "cinder==29.*",
            "neutron==29.*",
        ):
            self.assertIn(requirement, wanted)

    def test_major_number_alone_is_its_newest(self) -> None:
        self.assertIn("nova==31.*", packages.requirements("31"))

    def test_release_nobody_tried_is_refused(self) -> None:
        for version in ("30.0.0", "35.0.0", "master"):
            with self.assertRaisesRegex(LabError, "31.x to 34.x"):
                packages.requirements(version)
