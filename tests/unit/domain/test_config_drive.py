# SPDX-License-Identifier: Apache-2.0
"""The regenerated config drive in a rescue definition (E5, U3)."""

import ddt
from lxml import etree
from oslotest import base

from stable_rescue import exception, plan
from stable_rescue.domain import recognize
from stable_rescue.domain.document import Domain, Draft
from stable_rescue.domain.layout import layout_of
from stable_rescue.domain.medium import Medium
from tests.unit.domain import samples

_REPLACED = plan.RescueMedia(samples.MEDIUM, replaces_config_drive=True)
_DRIVES = {"pc": "hda", "q35": "sda"}


def without_drive(machine: str) -> Draft:
    """Return a sample without its config drive."""
    original = samples.domain(machine)
    samples.remove_disk(original, _DRIVES[machine])
    return original


class ReplacedTest(base.BaseTestCase):
    """A server with a config drive reads the new one in the slot of the old one."""

    def test_config_drive_keeps_its_address(self) -> None:
        request = plan.RescueRequest(bus="usb")
        derived = plan.derive(samples.domain("q35"), request, _REPLACED)
        before, after = layout_of(derived.original), layout_of(derived.rescue)
        drive = ("disk", "sda", "sata", "1")
        changed = {key for key in before if after.get(key) != before[key]}
        self.assertEqual({samples.USB_NONE, drive}, changed)
        self.assertEqual(
            [
                f"{part}.rescue" if part.endswith("disk.config") else part
                for part in before[drive]
            ],
            list(after[drive]),
        )

    def test_config_drive_in_a_ceph_pool_is_replaced(self) -> None:
        original = samples.domain("pc")
        drive = next(original.disks("ide"))
        source = "<source protocol='rbd' name='vms/0f4b_disk.config'/>"
        drive.replace(drive.find("source"), etree.fromstring(source))
        derived = plan.derive(original, plan.RescueRequest(), _REPLACED)
        self.assertIn('name="vms/0f4b_disk.config.rescue"', derived.rescue.to_xml())

    def test_server_without_config_drive_is_not_changed(self) -> None:
        derived = plan.derive(without_drive("pc"), plan.RescueRequest(), _REPLACED)
        self.assertNotIn("config drive", [edit.name for edit in derived.edits])


@ddt.ddt
class AddedTest(base.BaseTestCase):
    """[stable_rescue] config_drive = always adds one to a server without."""

    def derive(
        self, original: Domain, request: plan.RescueRequest, device: str = "cdrom"
    ) -> plan.RescuePlan:
        drive = Medium(
            f"<disk type='file' device='{device}'><driver name='qemu' type='raw'/>"
            "<source file='/i/disk.config.rescue'/></disk>"
        )
        media = plan.RescueMedia(samples.MEDIUM, config_drive=drive)
        return plan.derive(original, request, media)

    @ddt.idata(samples.RESCUES)
    @ddt.unpack
    def test_config_drive_is_the_last_device_but_one(
        self, machine: str, device: str, bus: str
    ) -> None:
        original = without_drive(machine)
        rescue = self.derive(original, plan.RescueRequest(device, bus)).rescue
        *others, drive, last = rescue.disks()
        self.assertEqual(len(list(original.disks())), len(others))
        self.assertEqual("/i/disk.config.rescue", drive.find("source").get("file"))
        self.assertEqual("cdrom", drive.get("device"))
        self.assertIsNotNone(drive.find("readonly"))
        self.assertIsNone(drive.find("boot"))
        self.assertIs(recognize.rescue_disk(rescue), last)
        before, after = layout_of(original), layout_of(rescue)
        before.pop(samples.USB_NONE)
        self.assertEqual(before, {k: v for k, v in after.items() if k in before})

    def test_config_drive_with_vfat_is_a_disk(self) -> None:
        """[DEFAULT] config_drive_format = vfat."""
        request = plan.RescueRequest(bus="usb")
        rescue = self.derive(without_drive("q35"), request, "disk").rescue
        *_, drive, _last = rescue.disks()
        self.assertEqual("virtio", drive.find("target").get("bus"))

    def test_rescue_without_room_for_its_disk_is_refused(self) -> None:
        original = without_drive("pc")
        self.add_ide_disks(original, 4)
        request = plan.RescueRequest("cdrom", "ide")
        self.assertRaises(exception.NoRoom, self.derive, original, request)

    def test_server_with_config_drive_gets_no_other(self) -> None:
        original = samples.domain("q35")
        rescue = self.derive(original, plan.RescueRequest(bus="usb")).rescue
        self.assertEqual(len(list(original.disks())) + 1, len(list(rescue.disks())))

    def test_config_drive_leaves_room_for_the_rescue_disk(self) -> None:
        """One of four places on ide is left, so the config drive goes elsewhere."""
        original = without_drive("pc")
        self.add_ide_disks(original, 3)
        rescue = self.derive(original, plan.RescueRequest("cdrom", "ide")).rescue
        *_, drive, last = rescue.disks()
        self.assertEqual(
            ["scsi", "ide"], [disk.find("target").get("bus") for disk in (drive, last)]
        )

    def add_ide_disks(self, original: Domain, count: int) -> None:
        for place in range(count):
            address = samples.drive(0, place // 2, 0, place % 2)
            samples.add_disk(original, f"hd{'abcd'[place]}", "ide", address)
