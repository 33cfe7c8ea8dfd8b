# SPDX-License-Identifier: Apache-2.0
"""The verdict and the table of the demo."""

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
OWN = (ROOT, VOLUME, NIC, BRIDGE)


def seen(
    image: str, *devices: Device, medium: str = "disk", booted: Device | None = None
) -> Inventory:
    """Return an inventory; EDD names what was booted by its signature."""
    facts = {"edd_signature": booted.signature} if booted else {}
    return Inventory(1, image, "b", medium, "bios", 9.0, devices, facts)


def rescue_disk(**changes: str) -> Device:
    return dataclasses.replace(RESCUE, signature="0x1", **changes)


def result(
    rescued: tuple[Device, ...] = OWN,
    after: tuple[Device, ...] = OWN,
    rescued_image: str = "rescue",
    after_image: str = "original",
    booted: Device | None = None,
    added: tuple[Device, ...] | None = None,
) -> Result:
    disk = rescue_disk()
    return Result(
        seen("original", *OWN),
        seen(
            rescued_image,
            *rescued,
            *((disk,) if added is None else added),
            booted=booted or disk,
        ),
        seen(after_image, *after),
    )


class ResultTest(base.BaseTestCase):
    def test_all_well(self) -> None:
        found = result()
        self.assertEqual(
            (0, 4, []), (found.moved, found.originals, list(found.faults()))
        )

    def test_a_device_that_moves_in_rescue_is_counted(self) -> None:
        moved = dataclasses.replace(VOLUME, address="00:02.6/08:00.0")
        found = result(rescued=(ROOT, moved, NIC, BRIDGE))
        self.assertEqual(1, found.moved)
        self.assertEqual(["1 of the server's devices moved"], list(found.faults()))

    def test_so_is_one_that_is_renamed_afterwards(self) -> None:
        renamed = dataclasses.replace(VOLUME, name="vdc")
        self.assertEqual(1, result(after=(ROOT, renamed, NIC, BRIDGE)).moved)

    def test_and_one_that_is_gone(self) -> None:
        self.assertEqual(1, result(rescued=(ROOT, NIC, BRIDGE)).moved)

    def test_the_original_booted_in_place_of_the_rescue(self) -> None:
        """UPSTREAM U32."""
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
                "the rescue booted the image 'original'",
                "the rescue booted from 00:02.2/04:00.0 vda",
            ],
            faults,
        )

    def test_the_original_did_not_come_back(self) -> None:
        self.assertEqual(
            ["afterwards the image 'rescue' booted"],
            list(result(after_image="rescue").faults()),
        )

    def test_something_stayed_behind(self) -> None:
        found = result(after=(*OWN, rescue_disk()))
        self.assertEqual(
            ["something stayed behind after the rescue"], list(found.faults())
        )

    def test_two_disks_in_rescue(self) -> None:
        second = dataclasses.replace(RESCUE, address="x", name="sdb", label="other")
        found = result(added=(rescue_disk(), second))
        self.assertEqual(
            ["the rescue brought other than one disk"], list(found.faults())
        )


class TableTest(base.BaseTestCase):
    def test_what_moved_is_marked(self) -> None:
        moved = dataclasses.replace(NIC, address="00:02.9/09:00.0")
        lines = list(result(rescued=(ROOT, VOLUME, moved, BRIDGE)).lines(False))
        self.assertEqual(
            ["device", "before", "in", "rescue", "after"], lines[0].split()
        )
        marked = [line for line in lines if line.endswith("MOVED")]
        self.assertEqual(1, len(marked))
        self.assertIn("00:02.9/09:00.0 eth0", marked[0])

    def test_in_red_where_there_is_colour(self) -> None:
        moved = dataclasses.replace(NIC, address="00:02.9/09:00.0")
        lines = list(result(rescued=(ROOT, VOLUME, moved, BRIDGE)).lines(True))
        red = [line for line in lines if line.startswith("\033[31m")]
        self.assertEqual(1, len(red))
        self.assertNotIn("MOVED", red[0])

    def test_the_rescue_disk_is_in_rescue_alone(self) -> None:
        row = list(result().lines(False))[-1]
        self.assertIn("00:05.0/usb:1/0:0:0 sda", row)
        self.assertEqual(2, row.split().count("-"))
