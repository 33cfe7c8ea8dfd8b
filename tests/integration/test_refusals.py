# SPDX-License-Identifier: Apache-2.0
"""What stable rescue refuses, libvirt would reject: a refusal is only earlier."""

import libvirt
from lxml import etree

from stable_rescue.domain.document import Domain
from stable_rescue.domain.medium import Medium
from stable_rescue.exception import Refused
from tests.integration import base, matrix
from tests.integration.scene import Scene

_MEDIUM = Medium.from_file("/nonexistent/disk.rescue")
#: Machine, rescue device, bus and a target name on it: no machine has such a device.
_IMPOSSIBLE = (
    ("q35", "disk", "ide", "hda"),
    ("q35", "cdrom", "ide", "hda"),
    ("q35", "cdrom", "virtio", "vdz"),
    ("q35", "disk", "fdc", "fdb"),
    ("pc", "cdrom", "virtio", "vdz"),
    ("pc", "disk", "fdc", "fdb"),
    ("pc", "floppy", "virtio", "vdz"),
    ("pc", "floppy", "usb", "sdz"),
)


class RefusalTest(base.TestCase):
    """Each rescue disk is derived and, written by hand, given to libvirt (U10)."""

    def new_domain(self, machine: str) -> libvirt.virDomain:
        server = base.Server(Scene(base.new_folder(self.addCleanup), machine))
        self.addCleanup(server.remove)
        return server.domain

    def refusal(self, original_xml: str, device: str, bus: str) -> str:
        with self.assertRaises(Refused) as caught:
            base.derive(original_xml, device, bus, _MEDIUM)
        return str(caught.exception)

    def libvirt_error(
        self, original_xml: str, device: str, bus: str, target: str
    ) -> str:
        """Return libvirt's error for the same disk; libvirt chooses its address."""
        domain = Domain.parse(original_xml).copy()
        disk = _MEDIUM.element()
        disk.set("device", device)
        etree.SubElement(disk, "target", dev=target, bus=bus)
        domain.append_device(disk)
        try:
            base.define(domain.to_xml())
            # libvirt defines some impossible disks, and rejects them at the start.
            self.connection.domainXMLToNative("qemu-argv", domain.to_xml())
        except libvirt.libvirtError as error:
            return str(error)
        finally:
            self.connection.defineXML(original_xml)
        raise AssertionError(f"libvirt accepts {device} on {bus}")

    def test_impossible_device_is_refused_and_rejected(self):
        for machine, device, bus, target in _IMPOSSIBLE:
            with self.subTest(f"{machine} {device} {bus}"):
                original_xml = base.definition(self.new_domain(machine))
                self.assertTrue(self.libvirt_error(original_xml, device, bus, target))
                self.assertIn("supports", self.refusal(original_xml, device, bus))

    def test_fifth_ide_drive_is_refused_and_rejected(self):
        domain = Domain.parse(base.definition(self.new_domain("pc"))).copy()
        for number, target in ((1, "hdb"), (2, "hdc"), (3, "hdd")):
            domain.append_device(
                etree.fromstring(
                    f"<disk type='file' device='cdrom'><source file='/nonexistent'/>"
                    f"<target dev='{target}' bus='ide'/><readonly/>"
                    f"<address type='drive' bus='{number // 2}' unit='{number % 2}'/>"
                    "</disk>"
                )
            )
        original_xml = base.definition(self.connection.defineXML(domain.to_xml()))
        self.assertIn("ide", self.refusal(original_xml, "cdrom", "ide"))
        self.assertIn("IDE", self.libvirt_error(original_xml, "cdrom", "ide", "hde"))

    def test_disk_without_a_free_pci_slot_is_refused_and_rejected(self):
        """F15: a bus that needs no PCI slot is still possible."""
        original_xml = base.definition(matrix.fill(self.new_domain("pc")))
        for bus in ("virtio", "scsi", "usb"):
            self.assertIn("PCI", self.refusal(original_xml, "disk", bus))
        self.assertIn("PCI", self.libvirt_error(original_xml, "disk", "virtio", "vdzz"))
        base.define(base.derive(original_xml, "disk", "ide", _MEDIUM).rescue.to_xml())
