# SPDX-License-Identifier: Apache-2.0
"""Guests with a hotplug history boot the rescue system, and no device moves."""

from typing import ClassVar

from stable_rescue.tempest.guest import Inventory, compare
from tests.integration import base

_XHCI = "0c0330"  # PCI class: serial bus, USB, xHCI


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

    def boot_rescue(self, device: str, bus: str) -> Inventory:
        """Rescue the server and return the inventory of the rescue system."""
        self.addCleanup(self.server.define, self.original_xml)
        medium = base.rescue_medium(self.addCleanup, device)
        derived = base.derive(self.original_xml, device, bus, medium)
        self.assertEqual((device, bus), (derived.device, derived.bus))
        self.server.define(derived.rescue.to_xml())
        return self.server.boot()

    def check_rescue_and_unrescue(self, device: str, bus: str) -> None:
        rescued = self.boot_rescue(device, bus)
        comparison = compare(self.baseline, rescued)
        self.assertEqual((), comparison.disturbed, str(comparison))
        self.assertGreaterEqual(len(comparison.originals), 14)
        self.assert_rescue_booted(rescued, device)
        self.assertIn(rescued.boot_disk, comparison.appeared)
        if bus == "usb":
            self.check_usb_controller(rescued)

        self.server.define(self.original_xml)
        self.assertEqual(self.original_xml, self.server.definition())
        unrescued = self.server.boot()
        self.assertEqual("original", unrescued.image)
        self.assertEqual(self.baseline.boot_disk, unrescued.boot_disk)
        comparison = compare(self.baseline, unrescued)
        self.assertEqual((), comparison.disturbed, str(comparison))
        self.assertEqual((), comparison.appeared)

    def check_usb_controller(self, rescued: Inventory) -> None:
        """Check that the rescue disk is alone on an xHCI controller (F14, U33)."""
        controller, _, port = rescued.boot_disk.address.partition("/usb:")
        self.assertEqual("1", port.partition("/")[0])
        (function,) = (d for d in rescued.of_kind("pci") if d.address == controller)
        self.assertEqual(_XHCI, function.pci_class)
        addresses = [device.address for device in rescued.of_kind("usb")]
        self.assertEqual(
            [f"{controller}/usb:1"],
            [address for address in addresses if address.startswith(controller)],
        )

    def test_disk_on_virtio_boots_and_moves_nothing(self):
        self.check_rescue_and_unrescue("disk", "virtio")

    def test_disk_on_usb_boots_and_moves_nothing(self):
        self.check_rescue_and_unrescue("disk", "usb")

    def test_disk_on_scsi_boots_and_moves_nothing(self):
        self.check_rescue_and_unrescue("disk", "scsi")


class PcTest(RescueBoots, base.TestCase):
    machine = "pc"

    def test_cdrom_on_ide_boots_and_moves_nothing(self):
        self.check_rescue_and_unrescue("cdrom", "ide")


class Q35Test(RescueBoots, base.TestCase):
    machine = "q35"
    options: ClassVar = {"scsi_volume": True}

    def test_cdrom_on_sata_boots_and_moves_nothing(self):
        self.check_rescue_and_unrescue("cdrom", "sata")


class Q35UefiTest(RescueBoots, base.TestCase):
    """OVMF boots the rescue from a copy of the server's NVRAM file (U31)."""

    machine = "q35"
    options: ClassVar = {"firmware": "uefi"}

    def boot_rescue(self, device: str, bus: str) -> Inventory:
        nvram = self.server.scene.nvram
        nvram_before = nvram.read_bytes()
        self.addCleanup(nvram.with_suffix(".fd.rescue").unlink)
        rescued = super().boot_rescue(device, bus)
        self.assertEqual("uefi", rescued.firmware)
        self.server.stop()
        self.assertEqual(nvram_before, nvram.read_bytes())
        return rescued

    def test_cdrom_on_sata_boots_and_moves_nothing(self):
        self.check_rescue_and_unrescue("cdrom", "sata")
