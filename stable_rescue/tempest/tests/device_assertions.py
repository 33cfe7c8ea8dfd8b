# SPDX-License-Identifier: Apache-2.0
"""Assertions about the devices that a guest sees in rescue and after unrescue."""

from __future__ import annotations

import unittest

from stable_rescue.tempest.guest import Comparison, compare
from stable_rescue.tempest.guest.comparison import Change, place, title
from stable_rescue.tempest.guest.inventory import Device, Inventory


class DeviceAssertions(unittest.TestCase):
    """Compares the inventory of a guest with the one from before the rescue."""

    def assert_rescued(self, before: Inventory, rescued: Inventory) -> None:
        """Fail unless no device moved and the guest booted from the only new disk."""
        comparison = compare(before, rescued)
        new = [device for device in comparison.appeared if device.kind == "disk"]
        new_disks = ", ".join(map(_describe, new)) or "none"
        if rescued.boot_disk not in new:
            booted = "an unknown disk"
            if rescued.boot_disk:
                booted = _describe(rescued.boot_disk)
            self.fail(f"booted from {booted}, not the rescue disk; new: {new_disks}")
        self.assertEqual(1, len(new), f"several new disks in rescue: {new_disks}")
        kept = [c for c in comparison.changes if not _only_renumbered(c, new[0])]
        self._assert_undisturbed("in rescue", Comparison(tuple(kept)))

    def assert_restored(self, before: Inventory, after: Inventory) -> None:
        """Fail unless the guest sees exactly the devices from before the rescue."""
        comparison = compare(before, after)
        self._assert_undisturbed("after unrescue", comparison)
        self.assertEqual(
            [],
            [_describe(device) for device in comparison.appeared],
            "devices left behind by the rescue",
        )
        if before.boot_disk and after.boot_disk:
            self.assertEqual(
                before.boot_disk.address,
                after.boot_disk.address,
                "booted from another disk than before the rescue",
            )

    def _assert_undisturbed(self, when: str, comparison: Comparison) -> None:
        if comparison.disturbed:
            self.fail(f"devices {when} differ from those before; {comparison}")


def _describe(device: Device) -> str:
    return f"{title(device)} at {place(device)}"


def _only_renumbered(change: Change, rescue: Device) -> bool:
    """Return True if a CD-ROM drive only got another number from the kernel.

    The kernel numbers the drives in the order of their controllers. A rescue CD-ROM has
    its own controller, which may come before the controller of the server's drive.
    """
    return (
        change.device.is_cdrom
        and rescue.is_cdrom
        and change.renamed
        and not change.moved
    )
