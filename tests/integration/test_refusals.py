# SPDX-License-Identifier: Apache-2.0
"""What we refuse, libvirt refuses too: a refusal is never wrong, only earlier."""

import libvirt
from lxml import etree

from stable_rescue import plan
from stable_rescue.domain.document import Domain
from stable_rescue.domain.medium import Medium
from stable_rescue.exception import Refused
from tests.integration import base
from tests.integration.scene import Scene

_MEDIUM = Medium.from_file("/nonexistent/disk.rescue")


class RefusalTest(base.TestCase):
    """Each case is put to us and, written by hand, to libvirt."""

    def own(self, machine: str) -> str:
        scene = Scene(base.new_folder(self.addCleanup), machine)
        server = base.Server(scene)
        self.addCleanup(server.remove)
        return server.definition()

    def refused(self, own: str, device: str, bus: str) -> str:
        with self.assertRaises(Refused) as caught:
            plan.derive(own, plan.RescueRequest(device, bus), _MEDIUM)
        return str(caught.exception)

    def by_hand(self, own: str, device: str, bus: str, target: str) -> str:
        """Return what libvirt says to the same disk, its address left to it."""
        domain = Domain.parse(own)
        disk = _MEDIUM.element()
        disk.set("device", device)
        etree.SubElement(disk, "target", dev=target, bus=bus)
        domain.append_device(disk)
        flags = libvirt.VIR_DOMAIN_DEFINE_VALIDATE
        try:
            self.connection.defineXMLFlags(domain.to_xml(), flags)
            # some it accepts as text, and refuses to make a machine of
            self.connection.domainXMLToNative("qemu-argv", domain.to_xml())
        except libvirt.libvirtError as error:
            return str(error)
        finally:
            self.connection.defineXML(own)
        raise AssertionError(f"libvirt accepts {device} on {bus}")

    def test_what_no_machine_carries(self):
        cases = [
            ("q35", "disk", "ide", "hda"),
            ("q35", "cdrom", "ide", "hda"),
            ("q35", "cdrom", "virtio", "vdz"),
            ("q35", "disk", "fdc", "fdb"),
            ("pc", "cdrom", "virtio", "vdz"),
            ("pc", "disk", "fdc", "fdb"),
            ("pc", "floppy", "virtio", "vdz"),
            ("pc", "floppy", "usb", "sdz"),
        ]
        for machine, device, bus, target in cases:
            with self.subTest(f"{machine} {device} {bus}"):
                own = self.own(machine)
                said = self.by_hand(own, device, bus, target)
                self.assertIn("error", f"error {said}")
                self.assertIn("takes", self.refused(own, device, bus))

    def test_four_ide_drives(self):
        domain = Domain.parse(self.own("pc"))
        for number, name in ((1, "hdb"), (2, "hdc"), (3, "hdd")):
            domain.append_device(
                etree.fromstring(
                    f"<disk type='file' device='cdrom'><source file='/nonexistent'/>"
                    f"<target dev='{name}' bus='ide'/><readonly/>"
                    f"<address type='drive' bus='{number // 2}' unit='{number % 2}'/>"
                    "</disk>"
                )
            )
        own = base.definition(self.connection.defineXML(domain.to_xml()))
        self.assertIn("ide", self.refused(own, "cdrom", "ide"))
        self.assertIn("IDE", self.by_hand(own, "cdrom", "ide", "hde"))

    def test_a_full_pci_bus(self):
        domain = Domain.parse(self.own("pc"))
        used = {
            int(a.get("slot"), 16) for a in domain.root.iterfind(".//address[@slot]")
        }
        free = sorted(set(range(1, 32)) - used)
        for place, slot in enumerate(free):
            domain.append_device(
                etree.fromstring(
                    "<disk type='file' device='disk'><source file='/nonexistent'/>"
                    f"<target dev='vd{chr(ord('f') + place)}' bus='virtio'/>"
                    f"<address type='pci' slot='{slot:#04x}'/></disk>"
                )
            )
        own = base.definition(self.connection.defineXML(domain.to_xml()))
        for bus in ("virtio", "scsi", "usb"):
            self.assertIn("PCI", self.refused(own, "disk", bus))
        self.assertIn("PCI", self.by_hand(own, "disk", "virtio", "vdzz"))
        # what needs no slot is still possible
        derived = plan.derive(own, plan.RescueRequest("disk", "ide"), _MEDIUM)
        self.connection.defineXMLFlags(
            derived.after, libvirt.VIR_DOMAIN_DEFINE_VALIDATE
        )
