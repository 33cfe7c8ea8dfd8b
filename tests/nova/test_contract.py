# SPDX-License-Identifier: Apache-2.0

"""Nova's contract of a compute driver, held against ours."""

import inspect
import unittest
from typing import Any

from nova.tests.unit.virt import test_virt_drivers
from nova.virt import driver

from stable_rescue import activation
from stable_rescue.virt.driver import StableRescueDriver

DRIVER = f"nova.virt.{activation.COMPUTE_DRIVER}"


class TestContract(test_virt_drivers.LibvirtConnTestCase):
    """Whatever Nova calls on a driver can be called on ours, with Nova's arguments."""

    # Nova skips these for its libvirt driver, without a condition.
    test_get_device_name_for_instance = None
    test_migrate_disk_and_power_off = None

    def setUp(self) -> None:
        activation.install_finder()
        super().setUp()

    @property
    def driver_module(self) -> str:
        """Our driver: a property, as Nova's setUp sets an attribute of this name."""
        return DRIVER

    @driver_module.setter
    def driver_module(self, _novas: str) -> None:
        pass

    def test_it_is_our_driver(self) -> None:
        self.assertEqual(
            "stable_rescue.virt.driver.StableRescueDriver",
            f"{type(self.connection).__module__}.{type(self.connection).__qualname__}",
        )


class TestMethods(unittest.TestCase):
    """What Nova's test_public_api_signatures asserts, but for methods of rescue."""

    def public(self, driver_class: type) -> dict[str, Any]:
        return {
            # As Nova compares them: without annotations.
            name: inspect.getfullargspec(method)[:-1]
            for name, method in inspect.getmembers(driver_class, inspect.isfunction)
            if not name.startswith("_")
        }

    def test_no_method_differs_but_those_of_rescue(self) -> None:
        novas = self.public(driver.ComputeDriver)
        ours = self.public(StableRescueDriver)
        added = sorted(ours.keys() - novas.keys())
        self.assertEqual([], [name for name in added if "rescue" not in name])
        self.assertEqual(novas, {name: ours[name] for name in novas})


class TestLoader(test_virt_drivers.VirtDriverLoaderTestCase):
    """Nova's manager loads our driver beside its own."""

    new_drivers = {
        **test_virt_drivers.VirtDriverLoaderTestCase.new_drivers,
        activation.COMPUTE_DRIVER: "StableRescueDriver",
    }

    def setUp(self) -> None:
        activation.install_finder()
        super().setUp()
