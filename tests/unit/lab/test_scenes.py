# SPDX-License-Identifier: Apache-2.0
"""What the scenes of the demo make of what they were told."""

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
    content_sha256="d-own",
    password_sha256=password.digest("own"),
)
RESCUE = Device("disk", "00:05.0/usb:1/0:0:0", "sda", 2**24, label="rescue b")


def seen(image: str, *devices: Device) -> Inventory:
    return Inventory(1, image, "b", "disk", "bios", 9.0, devices, {})


def marked(by: str, *devices: Device, found: str = "") -> list[Device]:
    """Return the disks as a guest saw them that has marked those it can write to."""
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


BEFORE = seen("original", *marked("one", ROOT, VOLUME, CONFIG))
RESCUED = seen(
    "rescue",
    *marked("two", ROOT, VOLUME, CONFIG, found="one"),
    *marked("two", RESCUE),
)
AFTER = seen("original", *marked("three", ROOT, VOLUME, CONFIG, found="two"))


class MarksTest(unittest.TestCase):
    def changed(self, guest: Inventory, name: str, **values: str) -> Inventory:
        devices = tuple(
            dataclasses.replace(device, **values) if device.name == name else device
            for device in guest.devices
        )
        return dataclasses.replace(guest, devices=devices)

    def test_every_marker_was_read_back(self) -> None:
        readings = [
            marks.Reading(BEFORE, RESCUED, BEFORE),
            marks.Reading(RESCUED, AFTER, BEFORE),
        ]
        for reading in readings:
            self.assertEqual([], list(reading.faults()))
            self.assertEqual((2, 2), (reading.kept, len(reading.pairs)))
        self.assertEqual(
            "markers: 2 of 2 of the original guest's read by the rescue guest,"
            " 2 of 2 of the rescue guest's read by the original guest",
            marks.line(readings),
        )

    def test_one_that_is_not_there_any_more(self) -> None:
        after = self.changed(AFTER, "vdb", marker_read="")
        reading = marks.Reading(RESCUED, after, BEFORE)
        self.assertEqual(1, reading.kept)
        (fault,) = reading.faults()
        self.assertIn("'two vdb' was written, '' was read", fault)

    def test_the_marker_of_another_disk(self) -> None:
        after = self.changed(AFTER, "vdb", marker_read="two vda")
        self.assertEqual(1, marks.Reading(RESCUED, after, BEFORE).kept)

    def test_a_disk_that_could_not_be_written_to(self) -> None:
        for wrote in ("", "failed"):
            rescued = self.changed(RESCUED, "vdb", marker_written=wrote)
            (fault,) = marks.Reading(rescued, AFTER, BEFORE).faults()
            self.assertIn("no marker could be written", fault)

    def test_a_disk_that_is_gone(self) -> None:
        after = seen("original", *AFTER.devices[:1])
        (fault,) = marks.Reading(RESCUED, after, BEFORE).faults()
        self.assertIn("does not have it", fault)

    def test_no_disk_at_all_is_a_fault(self) -> None:
        self.assertEqual(
            ["the original guest had no disk to write a marker to"],
            list(marks.Reading(seen("original"), RESCUED, BEFORE).faults()),
        )


class PasswordTest(unittest.TestCase):
    def result(self, **changes: str) -> Result:
        new = {
            "content_sha256": "d-new",
            "password_sha256": password.digest("SECRET"),
            **changes,
        }
        return Result(
            seen("original", ROOT, CONFIG),
            seen("rescue", ROOT, dataclasses.replace(CONFIG, **new), RESCUE),
            seen("original", ROOT, CONFIG),
        )

    def test_all_well(self) -> None:
        self.assertEqual([], list(password.judge(self.result(), "SECRET")))

    def test_novas_own_leaves_the_old_one_there(self) -> None:
        """UPSTREAM U3."""
        old = self.result(
            content_sha256=CONFIG.content_sha256,
            password_sha256=CONFIG.password_sha256,
        )
        self.assertEqual(
            ["the rescue guest's config drive has another password"],
            list(password.judge(old, "SECRET")),
        )
        in_rescue = list(password.lines(old, "SECRET"))[1]
        self.assertIn("another password", in_rescue)
        self.assertIn("00:1f.2/ata:1/0:0:0", in_rescue)

    def test_elsewhere(self) -> None:
        self.assertEqual(
            ["the rescue guest's config drive is not where the server's own was"],
            list(password.judge(self.result(address="00:1f.2/ata:2/0:0:0"), "SECRET")),
        )

    def test_not_back(self) -> None:
        result = self.result()
        stayed = dataclasses.replace(result, after=result.rescued)
        self.assertEqual(
            ["the server's own config drive is not back"],
            list(password.judge(stayed, "SECRET")),
        )

    def test_none(self) -> None:
        result = dataclasses.replace(self.result(), rescued=seen("rescue", ROOT))
        self.assertEqual(1, len(list(password.judge(result, "SECRET"))))
        self.assertIn(
            "config drive in rescue: none", list(password.lines(result, "SECRET"))
        )


class StaleTest(unittest.TestCase):
    def test_the_guest_is_as_it_was(self) -> None:
        self.assertEqual([], list(stale.judge_failed(BEFORE, BEFORE)))

    def test_it_is_not(self) -> None:
        moved = dataclasses.replace(VOLUME, address="00:02.9/09:00.0")
        faults = list(stale.judge_failed(BEFORE, seen("rescue", ROOT, moved, CONFIG)))
        self.assertEqual(2, len(faults))

    def test_which_image_should_have_booted(self) -> None:
        result = Result(BEFORE, RESCUED, AFTER)
        fault = "the rescue booted the image 'rescue'"
        self.assertIn(fault, list(result.faults("other")))
        self.assertNotIn(fault, list(result.faults()))


class StorageTest(unittest.TestCase):
    LINES = ("Cinder v-1 attached", "Cinder v-2 attached", "Ceph v-1 opened 1 times")

    def test_who_has_how_many(self) -> None:
        self.assertEqual("2 by Cinder, 1 by Ceph", storage.count(self.LINES))

    def test_what_changed(self) -> None:
        self.assertEqual([], list(storage.changes(self.LINES, self.LINES)))
        self.assertEqual("the same", storage.same([]))
        changed = list(storage.changes(self.LINES, [*self.LINES[1:], "Cinder v-3"]))
        self.assertEqual(["gone: Cinder v-1 attached", "new: Cinder v-3"], changed)
        self.assertEqual("2 changes", storage.same(changed))


def request_for(scene: str, **asked: object) -> Request:
    paths = {
        field.name: Path(f"/images/{field.name}")
        for field in dataclasses.fields(GuestImages)
        if field.name != "build"
    }
    request = Request(scene, "q35", "disk", "", False, GuestImages(**paths, build="b"))
    return dataclasses.replace(request, **asked)


class RequestTest(unittest.TestCase):
    def test_it_gets_into_the_sandbox_whole(self) -> None:
        request = request_for("storage", machine="pc", device="cdrom", bus="ide")
        self.assertEqual(request, Request.from_json(request.to_json()))
        self.assertEqual(
            "marking_rescue_iso", request.images.marking_rescue("cdrom").name
        )


class CasesTest(unittest.TestCase):
    def cases(self, scene: str, **asked: object) -> list[str]:
        module = importlib.import_module(f"lab.demo.scenes.{scene.replace('-', '_')}")
        return module.cases(request_for(scene, **asked))

    def test_every_scene_has_cases(self) -> None:
        for scene in SCENES:
            with self.subTest(scene=scene):
                some, every = self.cases(scene), self.cases(scene, every_case=True)
                self.assertTrue(some)
                self.assertLessEqual(set(some), set(every))
                self.assertEqual(len(every), len(set(every)))

    def test_the_machine_is_the_one_asked_for(self) -> None:
        self.assertEqual(["pc"], self.cases("storage", machine="pc"))
        self.assertEqual(["pc/disk/usb"], self.cases("hotplug", machine="pc"))


class GuestTest(unittest.TestCase):
    """Recorded from a rescue guest, booted after an original that marks disks, too."""

    def test_markers_and_config_drive(self) -> None:
        console = Path(__file__).parent / "consoles" / "marking.log"
        guest = inventory.last(console.read_text())
        assert guest is not None
        own = [disk for disk in guest.disks if disk.label != f"rescue {guest.build}"]
        drives = [disk for disk in own if disk.is_cdrom]
        for disk in own:
            if disk not in drives:
                self.assertEqual(
                    f"rescue {guest.boot_id} {disk.name}", disk.marker_written, disk
                )
                self.assertTrue(disk.marker_read.startswith("original "), disk)
        (drive,) = drives
        self.assertEqual(("", ""), (drive.marker_read, drive.marker_written))
        self.assertRegex(drive.content_sha256, "^[0-9a-f]{64}$")
        self.assertEqual(password.digest("SECRET"), drive.password_sha256)
