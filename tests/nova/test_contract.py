# SPDX-License-Identifier: Apache-2.0

"""StableRescueDriver fulfills Nova's contract of a compute driver."""

import inspect
import unittest
from typing import Any

from nova.tests.unit.virt import test_virt_drivers
from nova.virt import driver

from stable_rescue import activation
from stable_rescue.virt.driver import StableRescueDriver


class TestContract(test_virt_drivers.LibvirtConnTestCase):
    """Nova can call every method of a driver on StableRescueDriver."""

    # Nova skips these for its libvirt driver, without a condition.
    test_get_device_name_for_instance = None
    test_migrate_disk_and_power_off = None

    def setUp(self) -> None:
        activation.install_finder()
        super().setUp()

    @property
    def driver_module(self) -> str:
        """The driver's module, as a property: Nova's setUp cannot overwrite it."""
        return f"nova.virt.{activation.COMPUTE_DRIVER}"

    @driver_module.setter
    def driver_module(self, _nova_driver: str) -> None:
        pass

    def test_connection_is_stable_rescue_driver(self) -> None:
        self.assertEqual(
            "stable_rescue.virt.driver.StableRescueDriver",
            f"{type(self.connection).__module__}.{type(self.connection).__qualname__}",
        )


class TestSignatures(unittest.TestCase):
    """The assertion of Nova's test_public_api_signatures, except methods of rescue."""

    def signatures(self, driver_class: type) -> dict[str, Any]:
        return {
            # Nova compares the arguments without annotations, too.
            name: inspect.getfullargspec(method)[:-1]
            for name, method in inspect.getmembers(driver_class, inspect.isfunction)
            if not name.startswith("_")
        }

    def test_only_rescue_methods_are_added_to_driver(self) -> None:
        nova = self.signatures(driver.ComputeDriver)
        stable_rescue = self.signatures(StableRescueDriver)
        added = sorted(stable_rescue.keys() - nova.keys())
        self.assertEqual([], [name for name in added if "rescue" not in name])
        self.assertEqual(nova, {name: stable_rescue[name] for name in nova})


class TestLoader(test_virt_drivers.VirtDriverLoaderTestCase):
    """Nova's manager can load StableRescueDriver as well as Nova's drivers."""

    new_drivers = {
        **test_virt_drivers.VirtDriverLoaderTestCase.new_drivers,
        activation.COMPUTE_DRIVER: "StableRescueDriver",
    }

    def setUp(self) -> None:
        activation.install_finder()
        super().setUp()
