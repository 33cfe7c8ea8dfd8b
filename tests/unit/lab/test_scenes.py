# SPDX-License-Identifier: Apache-2.0
"""The verdicts of the demo's scenes on markers, passwords and attachments."""

import dataclasses
import importlib
import unittest
from pathlib import Path

from lab.demo import SCENES, marks, storage
from lab.demo.request import Request
from lab.demo.scenes import password, stale
from lab.demo.table import Result
from lab.guest import GuestImages
from stable_rescue.tempest.guest import inventory
from stable_rescue.tempest.guest.inventory import Device, Inventory

ROOT = Device("disk", "00:02.2/04:00.0", "vda", 2**30, label="original b")
VOLUME = Device("disk", "00:02.3/05:00.0", "vdb", 2**30, serial="v-1")
CONFIG = Device(
    "disk",
    "00:1f.2/ata:1/0:0:0",
    "sr0",
    2**19,
    label="config-2",
    readonly=True,
    content_sha256="d-original",
    password_sha256=password.digest("original"),
)
RESCUE = Device("disk", "00:05.0/usb:1/0:0:0", "sda", 2**24, label="rescue b")


def guest(image: str, *devices: Device) -> Inventory:
    return Inventory(1, image, "b", "disk", "bios", 9.0, devices, {})


def marked(by: str, *devices: Device, found: str = "") -> list[Device]:
    """Return the disks as seen by a guest that has marked those it can write to."""
    return [
        dataclasses.replace(
            device,
            marker_read=""
            if device.readonly or not found
            else f"{found} {device.name}",
            marker_written="" if device.readonly else f"{by} {device.name}",
        )
        for device in devices
    ]


BEFORE = guest("original", *marked("one", ROOT, VOLUME, CONFIG))
RESCUED = guest(
    "rescue",
    *marked("two", ROOT, VOLUME, CONFIG, found="one"),
    *marked("two", RESCUE),
)
AFTER = guest("original", *marked("three", ROOT, VOLUME, CONFIG, found="two"))


class MarksTest(unittest.TestCase):
    def changed(self, inventory: Inventory, name: str, **values: str) -> Inventory:
        devices = tuple(
            dataclasses.replace(device, **values) if device.name == name else device
            for device in inventory.devices
        )
        return dataclasses.replace(inventory, devices=devices)

    def test_markers_that_were_all_read_back_have_no_faults(self) -> None:
        readings = [
            marks.Reading(BEFORE, RESCUED, BEFORE),
            marks.Reading(RESCUED, AFTER, BEFORE),
        ]
        for reading in readings:
            self.assertEqual([], list(reading.faults()))
            self.assertEqual((2, 2), (reading.kept, len(reading.pairs)))
        self.assertEqual(
            "markers: the rescue guest read 2 of 2 from the original guest,"
            " the original guest read 2 of 2 from the rescue guest",
            marks.line(readings),
        )

    def test_marker_that_is_missing_is_a_fault(self) -> None:
        after = self.changed(AFTER, "vdb", marker_read="")
        reading = marks.Reading(RESCUED, after, BEFORE)
        self.assertEqual(1, reading.kept)
        (fault,) = reading.faults()
        self.assertIn("'two vdb' was written, '' was read", fault)

    def test_marker_of_another_disk_is_a_fault(self) -> None:
        after = self.changed(AFTER, "vdb", marker_read="two vda")
        self.assertEqual(1, marks.Reading(RESCUED, after, BEFORE).kept)

    def test_marker_that_was_not_written_is_a_fault(self) -> None:
        for wrote in ("", "failed"):
            rescued = self.changed(RESCUED, "vdb", marker_written=wrote)
            (fault,) = marks.Reading(rescued, AFTER, BEFORE).faults()
            self.assertIn("no marker could be written", fault)

    def test_marked_disk_that_is_gone_is_a_fault(self) -> None:
        after = guest("original", *AFTER.devices[:1])
        (fault,) = marks.Reading(RESCUED, after, BEFORE).faults()
        self.assertIn("does not have this disk", fault)

    def test_guest_without_a_disk_to_mark_is_a_fault(self) -> None:
        self.assertEqual(
            ["the original guest had no disk to write a marker to"],
            list(marks.Reading(guest("original"), RESCUED, BEFORE).faults()),
        )


class PasswordTest(unittest.TestCase):
    def result(self, **changes: str) -> Result:
        new = {
            "content_sha256": "d-new",
            "password_sha256": password.digest("SECRET"),
            **changes,
        }
        return Result(
            guest("original", ROOT, CONFIG),
            guest("rescue", ROOT, dataclasses.replace(CONFIG, **new), RESCUE),
            guest("original", ROOT, CONFIG),
        )

    def test_password_in_the_same_config_drive_has_no_faults(self) -> None:
        self.assertEqual([], list(password.judge(self.result(), "SECRET")))

    def test_password_of_the_server_in_rescue_is_a_fault(self) -> None:
        """Stock rescue leaves the original config drive in place (U3)."""
        old = self.result(
            content_sha256=CONFIG.content_sha256,
            password_sha256=CONFIG.password_sha256,
        )
        self.assertEqual(
            ["the config drive in rescue has another password"],
            list(password.judge(old, "SECRET")),
        )
        in_rescue = list(password.lines(old, "SECRET"))[1]
        self.assertIn("another password", in_rescue)
        self.assertIn("00:1f.2/ata:1/0:0:0", in_rescue)

    def test_config_drive_at_another_address_is_a_fault(self) -> None:
        self.assertEqual(
            ["the config drive in rescue is not at the original address"],
            list(password.judge(self.result(address="00:1f.2/ata:2/0:0:0"), "SECRET")),
        )

    def test_config_drive_of_rescue_after_unrescue_is_a_fault(self) -> None:
        result = self.result()
        kept = dataclasses.replace(result, after=result.rescued)
        self.assertEqual(
            ["after unrescue the config drive is not the original one"],
            list(password.judge(kept, "SECRET")),
        )

    def test_config_drive_missing_in_rescue_is_a_fault(self) -> None:
        result = dataclasses.replace(self.result(), rescued=guest("rescue", ROOT))
        self.assertEqual(1, len(list(password.judge(result, "SECRET"))))
        self.assertIn(
            "config drive in rescue: none", list(password.lines(result, "SECRET"))
        )


class StaleTest(unittest.TestCase):
    def test_failed_rescue_with_unchanged_guest_has_no_faults(self) -> None:
        self.assertEqual([], list(stale.judge_failed(BEFORE, BEFORE)))

    def test_failed_rescue_with_image_or_device_changed_is_a_fault(self) -> None:
        moved = dataclasses.replace(VOLUME, address="00:02.9/09:00.0")
        faults = list(stale.judge_failed(BEFORE, guest("rescue", ROOT, moved, CONFIG)))
        self.assertEqual(2, len(faults))

    def test_result_with_the_image_of_an_earlier_rescue_is_a_fault(self) -> None:
        result = Result(BEFORE, RESCUED, AFTER)
        fault = "the rescue guest booted from the image 'rescue'"
        self.assertIn(fault, list(result.faults("other")))
        self.assertNotIn(fault, list(result.faults()))


class StorageTest(unittest.TestCase):
    LINES = ("Cinder v-1 attached", "Cinder v-2 attached", "Ceph v-1 opened 1 times")

    def test_attachments_are_counted_by_who_lists_them(self) -> None:
        self.assertEqual("2 by Cinder, 1 by Ceph", storage.count(self.LINES))

    def test_attachments_gone_and_new_are_changes(self) -> None:
        self.assertEqual([], list(storage.changes(self.LINES, self.LINES)))
        self.assertEqual("no change", storage.summary([]))
        changed = list(storage.changes(self.LINES, [*self.LINES[1:], "Cinder v-3"]))
        self.assertEqual(["gone: Cinder v-1 attached", "new: Cinder v-3"], changed)
        self.assertEqual("2 changes", storage.summary(changed))


def request_for(scene: str, **fields: object) -> Request:
    paths = {
        field.name: Path(f"/images/{field.name}")
        for field in dataclasses.fields(GuestImages)
        if field.name != "build"
    }
    request = Request(
        scene, "q35", "bios", "disk", "", False, GuestImages(**paths, build="b")
    )
    return dataclasses.replace(request, **fields)


class CasesTest(unittest.TestCase):
    """A demo plays one scene, so it does not notice that another is broken."""

    def cases(self, scene: str, **fields: object) -> list[str]:
        module = importlib.import_module(f"lab.demo.scenes.{scene.replace('-', '_')}")
        return module.cases(request_for(scene, **fields))

    def test_cases_of_every_scene_are_among_all_of_its_cases(self) -> None:
        for scene in SCENES:
            with self.subTest(scene=scene):
                some, every = self.cases(scene), self.cases(scene, every_case=True)
                self.assertTrue(some)
                self.assertLessEqual(set(some), set(every))
                self.assertEqual(len(every), len(set(every)))

    def test_cases_are_of_the_requested_machine(self) -> None:
        self.assertEqual(["pc"], self.cases("storage", machine="pc"))
        self.assertEqual(["pc/disk/usb"], self.cases("hotplug", machine="pc"))


class GuestTest(unittest.TestCase):
    """A console recorded from a rescue guest, with disks that another guest marked."""

    def test_guest_prints_markers_and_config_drive(self) -> None:
        console = Path(__file__).parent / "consoles" / "marking.log"
        rescued = inventory.last(console.read_text())
        assert rescued is not None
        rescue_disk = f"rescue {rescued.build}"
        originals = [disk for disk in rescued.disks if disk.label != rescue_disk]
        drives = [disk for disk in originals if disk.is_cdrom]
        for disk in originals:
            if disk not in drives:
                self.assertEqual(
                    f"rescue {rescued.boot_id} {disk.name}", disk.marker_written, disk
                )
                self.assertTrue(disk.marker_read.startswith("original "), disk)
        (drive,) = drives
        self.assertEqual(("", ""), (drive.marker_read, drive.marker_written))
        self.assertRegex(drive.content_sha256, "^[0-9a-f]{64}$")
        self.assertEqual(password.digest("SECRET"), drive.password_sha256)
