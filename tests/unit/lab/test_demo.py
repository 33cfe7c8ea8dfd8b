# SPDX-License-Identifier: Apache-2.0
"""The faults and the table of the demo."""

import dataclasses

from oslotest import base

from lab.demo.table import Result
from stable_rescue.tempest.guest.inventory import Device, Inventory

ROOT = Device(
    "disk", "00:02.2/04:00.0", "vda", 2**30, content="lab", label="original b"
)
VOLUME = Device("disk", "00:02.3/05:00.0", "vdb", 2**30, serial="v-1")
NIC = Device("nic", "00:02.1/03:00.0", "eth0", mac="fa:16:3e:00:00:01")
BRIDGE = Device("pci", "00:02.0", ids="1b36:000c")
RESCUE = Device("disk", "00:05.0/usb:1/0:0:0", "sda", 2**24, label="rescue b")
ORIGINALS = (ROOT, VOLUME, NIC, BRIDGE)


def guest(image: str, *devices: Device, booted: Device | None = None) -> Inventory:
    """Return an inventory; EDD identifies the boot disk by its signature."""
    facts = {"edd_signature": booted.signature} if booted else {}
    return Inventory(1, image, "b", "disk", "bios", 9.0, devices, facts)


def rescue_disk(**changes: str) -> Device:
    return dataclasses.replace(RESCUE, signature="0x1", **changes)


def result(
    rescued: tuple[Device, ...] = ORIGINALS,
    after: tuple[Device, ...] = ORIGINALS,
    rescued_image: str = "rescue",
    after_image: str = "original",
    booted: Device | None = None,
    added: tuple[Device, ...] | None = None,
) -> Result:
    disk = rescue_disk()
    return Result(
        guest("original", *ORIGINALS),
        guest(
            rescued_image,
            *rescued,
            *((disk,) if added is None else added),
            booted=booted or disk,
        ),
        guest(after_image, *after),
    )


class ResultTest(base.BaseTestCase):
    def test_result_nothing_moved_has_no_faults(self) -> None:
        unmoved = result()
        self.assertEqual(
            (0, 4, []), (unmoved.moved, unmoved.originals, list(unmoved.faults()))
        )

    def test_result_device_that_moves_in_rescue_is_a_fault(self) -> None:
        moved = dataclasses.replace(VOLUME, address="00:02.6/08:00.0")
        faulty = result(rescued=(ROOT, moved, NIC, BRIDGE))
        self.assertEqual(1, faulty.moved)
        self.assertEqual(["1 of the server's devices moved"], list(faulty.faults()))

    def test_result_device_renamed_after_unrescue_has_moved(self) -> None:
        renamed = dataclasses.replace(VOLUME, name="vdc")
        self.assertEqual(1, result(after=(ROOT, renamed, NIC, BRIDGE)).moved)

    def test_result_device_missing_in_rescue_has_moved(self) -> None:
        self.assertEqual(1, result(rescued=(ROOT, NIC, BRIDGE)).moved)

    def test_result_original_booted_in_rescue_is_a_fault(self) -> None:
        """Stock rescue on SCSI boots the original system of a UEFI server (U32)."""
        root = dataclasses.replace(ROOT, signature="0x2")
        faults = list(
            result(
                rescued=(root, VOLUME, NIC, BRIDGE),
                rescued_image="original",
                booted=root,
            ).faults()
        )
        self.assertEqual(
            [
                "the rescue guest booted from the image 'original'",
                "the rescue guest booted from 00:02.2/04:00.0 vda,"
                " not from the rescue disk",
            ],
            faults,
        )

    def test_result_rescue_booted_after_unrescue_is_a_fault(self) -> None:
        self.assertEqual(
            ["after unrescue the guest booted from the image 'rescue'"],
            list(result(after_image="rescue").faults()),
        )

    def test_result_new_device_after_unrescue_is_a_fault(self) -> None:
        faulty = result(after=(*ORIGINALS, rescue_disk()))
        self.assertEqual(
            ["after unrescue the guest has a device that it did not have before"],
            list(faulty.faults()),
        )

    def test_result_two_new_disks_in_rescue_are_a_fault(self) -> None:
        second = dataclasses.replace(RESCUE, address="x", name="sdb", label="other")
        faulty = result(added=(rescue_disk(), second))
        self.assertEqual(
            ["the rescue guest has 2 new disks, not one"], list(faulty.faults())
        )


class TableTest(base.BaseTestCase):
    def test_table_marks_the_device_that_moved(self) -> None:
        moved = dataclasses.replace(NIC, address="00:02.9/09:00.0")
        lines = list(result(rescued=(ROOT, VOLUME, moved, BRIDGE)).lines(False))
        self.assertEqual(
            ["device", "before", "in", "rescue", "after"], lines[0].split()
        )
        marked = [line for line in lines if line.endswith("MOVED")]
        self.assertEqual(1, len(marked))
        self.assertIn("00:02.9/09:00.0 eth0", marked[0])

    def test_table_with_color_has_the_moved_device_in_red(self) -> None:
        moved = dataclasses.replace(NIC, address="00:02.9/09:00.0")
        lines = list(result(rescued=(ROOT, VOLUME, moved, BRIDGE)).lines(True))
        red = [line for line in lines if line.startswith("\033[31m")]
        self.assertEqual(1, len(red))
        self.assertNotIn("MOVED", red[0])

    def test_table_shows_the_rescue_disk_in_rescue_only(self) -> None:
        row = list(result().lines(False))[-1]
        self.assertIn("00:05.0/usb:1/0:0:0 sda", row)
        self.assertEqual(2, row.split().count("-"))
