# SPDX-License-Identifier: Apache-2.0
"""The assertions about devices in rescue and after unrescue."""

from __future__ import annotations

import dataclasses
import unittest

from stable_rescue.tempest.guest.inventory import Device, Inventory
from stable_rescue.tempest.tests.device_assertions import DeviceAssertions

ROOT = Device("disk", "00:03.0", "vda", 1 << 30, signature="0x1")
DATA = Device("disk", "00:04.0", "vdb", 1 << 30, serial="one")
RESCUE = Device("disk", "00:05.0", "vdc", 1 << 24, signature="0x2")


def guest(*disks: Device, booted: Device) -> Inventory:
    boot_facts = {"edd_signature": booted.signature}
    return Inventory(1, "any", "b", "disk", "bios", 9.0, disks, boot_facts)


class DeviceAssertionsTest(unittest.TestCase):
    def setUp(self) -> None:
        self.devices = DeviceAssertions()
        self.before = guest(ROOT, DATA, booted=ROOT)

    def assert_not_rescued(self, rescued: Inventory, message: str) -> None:
        with self.assertRaisesRegex(AssertionError, message):
            self.devices.assert_rescued(self.before, rescued)

    def assert_not_restored(self, after: Inventory, message: str) -> None:
        with self.assertRaisesRegex(AssertionError, message):
            self.devices.assert_restored(self.before, after)

    def test_same_devices_pass(self) -> None:
        rescued = guest(ROOT, DATA, RESCUE, booted=RESCUE)
        self.devices.assert_rescued(self.before, rescued)
        self.devices.assert_restored(self.before, guest(ROOT, DATA, booted=ROOT))

    def test_moved_device_fails(self) -> None:
        moved = Device("disk", "00:06.0", "vdb", 1 << 30, serial="one")
        self.assert_not_rescued(
            guest(ROOT, moved, RESCUE, booted=RESCUE), "in rescue .*moved: 1 of 2"
        )
        self.assert_not_restored(
            guest(ROOT, moved, booted=ROOT), "after unrescue .*moved: 1 of 2"
        )

    def test_renumbered_cdrom_passes_only_beside_rescue_cdrom(self) -> None:
        drive = Device("disk", "00:1f.2/ata:1/0:0:0", "sr0", label="config-2")
        self.before = guest(ROOT, DATA, drive, booted=ROOT)
        renumbered = dataclasses.replace(drive, name="sr1")
        rescue_cdrom = dataclasses.replace(RESCUE, name="sr0")
        self.devices.assert_rescued(
            self.before,
            guest(ROOT, DATA, renumbered, rescue_cdrom, booted=rescue_cdrom),
        )
        self.assert_not_rescued(
            guest(ROOT, DATA, renumbered, RESCUE, booted=RESCUE), "moved: 1 of 3"
        )

    def test_renamed_disk_fails_beside_rescue_cdrom(self) -> None:
        drive = Device("disk", "00:1f.2/ata:1/0:0:0", "sr0", label="config-2")
        self.before = guest(ROOT, DATA, drive, booted=ROOT)
        renamed = dataclasses.replace(DATA, name="vdd")
        rescue_cdrom = dataclasses.replace(RESCUE, name="sr0")
        self.assert_not_rescued(
            guest(ROOT, renamed, drive, rescue_cdrom, booted=rescue_cdrom),
            "moved: 1 of 3",
        )

    def test_boot_of_original_system_fails(self) -> None:
        self.assert_not_rescued(
            guest(ROOT, DATA, RESCUE, booted=ROOT),
            "booted from .*vda, not the rescue disk; new: .*vdc",
        )

    def test_boot_of_unknown_disk_fails(self) -> None:
        unknown = dataclasses.replace(RESCUE, signature="0x9")
        self.assert_not_rescued(
            guest(ROOT, DATA, RESCUE, booted=unknown), "booted from an unknown disk"
        )

    def test_second_new_disk_fails(self) -> None:
        other = Device("disk", "00:07.0", "vdd", 1 << 25)
        self.assert_not_rescued(
            guest(ROOT, DATA, RESCUE, other, booted=RESCUE), "several new disks"
        )

    def test_rescue_disk_left_behind_fails(self) -> None:
        self.assert_not_restored(guest(ROOT, DATA, RESCUE, booted=ROOT), "left behind")
