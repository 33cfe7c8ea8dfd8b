# SPDX-License-Identifier: Apache-2.0
"""Guests with a hotplug history boot the rescue system, and no device moves."""

from typing import ClassVar

from stable_rescue.domain.medium import Medium
from stable_rescue.tempest.guest import Inventory, compare
from tests.integration import base
from tests.integration.scene import MIB


class RescueBoots:
    """Tests of one server with a hotplug history; each machine has a class."""

    machine: ClassVar[str]
    options: ClassVar[dict[str, object]] = {}
    server: ClassVar[base.Server]
    baseline: ClassVar[Inventory]
    original_xml: ClassVar[str]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.server = base.new_server(cls.addClassCleanup, cls.machine, **cls.options)
        cls.server.hotplug()
        # Names follow addresses at a cold boot only (F31), so the baseline is one.
        cls.baseline = cls.server.boot()
        cls.original_xml = cls.server.definition()

    def assert_carriers(self, expected: str, seen: Inventory) -> None:
        """Assert that the guest reads 1 or 0 as the carrier of each of its two NICs."""
        carriers = [nic.carrier for nic in seen.of_kind("nic")]
        self.assertEqual([expected, expected], carriers)

    def check_rescue(self, device: str, bus: str, quarantine: bool = False) -> None:
        self.addCleanup(self.server.define, self.original_xml)
        medium = base.rescue_medium(self.addCleanup, device)
        derived = base.derive(self.original_xml, device, bus, medium, quarantine)
        self.assertEqual((device, bus), (derived.device, derived.bus))
        self.server.define(derived.rescue.to_xml())
        rescued = self.server.boot()
        self.assert_rescue_disturbs_nothing(self.baseline, rescued, device, bus)
        self.assert_carriers("0" if quarantine else "1", rescued)
        self.assertEqual(self.server.rescue_target(), self.server.booted_disk())
        self.server.define(self.original_xml)
        self.assertEqual(self.original_xml, self.server.definition())

    def check_rescue_and_unrescue(
        self, device: str, bus: str, quarantine: bool = False
    ) -> None:
        """Also boot the original, which need not be done after every rescue.

        After each, the original definition is the same to the byte.
        """
        self.assert_carriers("1", self.baseline)
        self.check_rescue(device, bus, quarantine)
        unrescued = self.server.boot()
        self.assertEqual("original", unrescued.image)
        self.assertEqual(self.baseline.boot_disk, unrescued.boot_disk)
        self.assertEqual("vda", self.server.booted_disk())
        comparison = compare(self.baseline, unrescued)
        self.assertEqual((), comparison.disturbed, str(comparison))
        self.assertEqual((), comparison.appeared)
        self.assert_carriers("1", unrescued)

    def test_definition_after_hotplug_is_as_after_plugging_while_off(self):
        """The tests of UEFI servers therefore plug devices while the server is off."""
        self.addCleanup(self.server.define, self.original_xml)
        self.server.stop()
        self.server.define(self.server.scene.xml())
        self.server.unplug_volume()
        self.server.plug_devices()
        self.assertEqual(self.original_xml, self.server.definition())

    def test_disk_on_virtio_boots_and_moves_nothing(self):
        self.check_rescue("disk", "virtio")

    def test_disk_on_scsi_boots_and_moves_nothing(self):
        self.check_rescue("disk", "scsi")


class BlankDiskTest(base.TestCase):
    def test_bios_boots_nothing_if_the_rescue_disk_is_blank(self):
        server = self.new_server("pc")
        blank = server.scene.folder / "disk.rescue"
        with blank.open("wb") as stream:
            stream.truncate(64 * MIB)
        medium = Medium.from_file(str(blank))
        derived = base.derive(server.definition(), "disk", "usb", medium)
        server.define(derived.rescue.to_xml())
        server.start()
        server.wait_for_read(server.rescue_target())
        self.assertIsNone(server.booted_disk())


class PcTest(RescueBoots, base.TestCase):
    machine = "pc"

    def test_disk_on_usb_boots_and_moves_nothing(self):
        self.check_rescue_and_unrescue("disk", "usb")

    def test_cdrom_on_ide_boots_and_moves_nothing(self):
        self.check_rescue("cdrom", "ide")


class Q35Test(RescueBoots, base.TestCase):
    machine = "q35"
    options: ClassVar = {"scsi_volume": True}

    def test_disk_on_usb_boots_and_moves_nothing_in_quarantine(self):
        """Until the unrescue, the NICs are in place and without carrier (F36)."""
        self.check_rescue_and_unrescue("disk", "usb", quarantine=True)

    def test_cdrom_on_sata_boots_and_moves_nothing(self):
        self.check_rescue("cdrom", "sata")
