# SPDX-License-Identifier: Apache-2.0
"""Servers with a history are rescued, and nothing moves: told by their guests."""

from typing import ClassVar

from stable_rescue import plan
from stable_rescue.domain.medium import Medium
from stable_rescue.tempest.guest import Inventory, compare
from tests.integration import base
from tests.integration.scene import overlay

_XHCI = "0c0330"  # PCI class: serial bus, USB, xHCI


class RescueBoots:
    """What each machine's tests share: one server with a hotplug history."""

    machine: ClassVar[str]
    options: ClassVar[dict[str, object]] = {}
    server: ClassVar[base.Server]
    baseline: ClassVar[Inventory]
    own: ClassVar[str]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.server = base.new_server(cls.addClassCleanup, cls.machine, **cls.options)
        cls.server.hotplug_history()
        # Names follow addresses at a cold boot only (LIBVIRT F7): compare with that.
        cls.baseline = cls.server.boot()
        cls.own = cls.server.definition()

    def rescued(self, device: str, bus: str) -> Inventory:
        """Rescue the server and return what the rescue system sees."""
        server = self.server
        self.addCleanup(server.define, self.own)
        folder = base.new_folder(self.addCleanup)
        if device == "cdrom":
            medium = Medium.from_file(str(base.images().rescue_iso))
        else:
            disk = overlay(base.images().rescue_qcow2, folder / "disk.rescue")
            medium = Medium.from_file(str(disk), "qcow2")
        request = plan.RescueRequest(device, bus)
        derived = plan.derive(self.own, request, medium)
        self.assertEqual((device, bus), (derived.device, derived.bus))
        server.define(derived.after)
        return server.boot()

    def check(self, device: str, bus: str) -> None:
        seen = self.rescued(device, bus)
        found = compare(self.baseline, seen)
        self.assertEqual((), found.disturbed, str(found))
        self.assertGreaterEqual(len(found.originals), 14)
        # It booted the rescue disk: the firmware's word, and the kernel's.
        self.assertEqual("rescue", seen.image)
        self.assertIsNotNone(seen.boot_disk)
        self.assertIn(seen.boot_disk, found.appeared)
        self.assertEqual(f"rescue {base.images().build}", seen.boot_disk.label)
        self.assertEqual(device == "cdrom", seen.boot_disk.is_cdrom)
        if bus == "usb":
            self.check_usb_controller(seen)

        self.server.define(self.own)
        self.assertEqual(self.own, self.server.definition())
        again = self.server.boot()
        self.assertEqual("original", again.image)
        self.assertEqual(self.baseline.boot_disk, again.boot_disk)
        found = compare(self.baseline, again)
        self.assertEqual((), found.disturbed, str(found))
        self.assertEqual((), found.appeared)

    def check_usb_controller(self, seen: Inventory) -> None:
        """An xHCI of its own: firmware takes minutes through a UHCI (LIBVIRT)."""
        controller, _, port = seen.boot_disk.address.partition("/usb:")
        self.assertEqual("1", port.partition("/")[0])
        (function,) = (d for d in seen.of_kind("pci") if d.address == controller)
        self.assertEqual(_XHCI, function.pci_class)
        on_it = [d for d in seen.of_kind("usb") if d.address.startswith(controller)]
        self.assertEqual([f"{controller}/usb:1"], [d.address for d in on_it])

    def test_disk_on_virtio(self):
        self.check("disk", "virtio")

    def test_disk_on_usb(self):
        self.check("disk", "usb")

    def test_disk_on_scsi(self):
        self.check("disk", "scsi")


class PcTest(RescueBoots, base.TestCase):
    machine = "pc"

    def test_cdrom_on_ide(self):
        self.check("cdrom", "ide")


class Q35Test(RescueBoots, base.TestCase):
    machine = "q35"
    options: ClassVar = {"scsi_volume": True}

    def test_cdrom_on_sata(self):
        self.check("cdrom", "sata")


class Q35UefiTest(RescueBoots, base.TestCase):
    """OVMF: the rescue boots on a copy of the server's variables (UPSTREAM U31)."""

    machine = "q35"
    options: ClassVar = {"firmware": "uefi"}

    def rescued(self, device: str, bus: str) -> Inventory:
        variables = self.server.scene.nvram
        before = variables.read_bytes()
        self.addCleanup(variables.with_suffix(".fd.rescue").unlink)
        seen = super().rescued(device, bus)
        self.assertEqual("uefi", seen.firmware)
        self.server.stop()
        self.assertEqual(before, variables.read_bytes())
        return seen

    def test_cdrom_on_sata(self):
        self.check("cdrom", "sata")
