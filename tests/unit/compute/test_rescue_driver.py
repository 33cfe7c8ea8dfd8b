# SPDX-License-Identifier: Apache-2.0
"""The interface that the compute manager needs of a driver."""

import inspect

from oslotest import base

from stable_rescue import activation
from stable_rescue.compute import rescue_driver
from stable_rescue.compute.rescue_driver import KnownRescue, RescueDriver
from stable_rescue.storage import known_rescue
from stable_rescue.virt.driver import StableRescueDriver


def public(owner: type) -> dict[str, object]:
    return {name: each for name, each in vars(owner).items() if name[0] != "_"}


class RescueDriverTest(base.BaseTestCase):
    def test_only_a_driver_with_every_method_takes_part(self) -> None:
        activation.install_finder()
        self.assertTrue(rescue_driver.takes_part(activation.COMPUTE_DRIVER))
        self.assertFalse(rescue_driver.takes_part("fake.MediumFakeDriver"))
        self.assertFalse(rescue_driver.takes_part("missing.MissingDriver"))

    def test_stable_rescue_driver_has_the_signatures(self) -> None:
        for name, method in public(RescueDriver).items():
            self.assertEqual(
                list(inspect.signature(method).parameters),
                list(inspect.signature(getattr(StableRescueDriver, name)).parameters),
                name,
            )

    def test_known_rescue_has_the_properties(self) -> None:
        known = known_rescue.KnownRescue(None, has_record=False, is_lost=False)
        for name in public(KnownRescue):
            self.assertTrue(hasattr(known, name), name)
