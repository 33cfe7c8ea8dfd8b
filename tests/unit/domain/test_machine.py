# SPDX-License-Identifier: Apache-2.0
"""The devices and buses that a machine type supports."""

import ddt
from lxml import etree
from oslotest import base

from stable_rescue import exception
from stable_rescue.domain.document import Draft
from tests.unit.domain import samples


def domain_of(machine: str, arch: str = "x86_64", sample: str = "pc") -> Draft:
    """Return a sample with another machine type."""
    domain = samples.domain(sample)
    domain.root.find("os/type").set("arch", arch)
    domain.root.find("os/type").set("machine", machine)
    return domain


class DefaultBusTest(base.BaseTestCase):
    """The default bus comes from the server, not from the rescue image (U11)."""

    def test_disk_uses_the_bus_of_the_root_disk(self) -> None:
        self.assertEqual("virtio", samples.derive(samples.domain("q35")).bus)
        original = samples.domain("pc")
        for name in ("vda", "vdb", "vdc"):
            samples.remove_disk(original, name)
        samples.add_disk(original, "hdc", "ide", samples.drive(0, 1, 0, 0))
        self.assertEqual("ide", samples.derive(original).bus)

    def test_root_disk_is_the_disk_with_boot_order_1(self) -> None:
        original = samples.domain("q35")
        for boot in original.root.findall("os/boot"):
            boot.getparent().remove(boot)
        samples.add(
            original,
            "<disk type='file' device='disk'><source file='/b'/>"
            "<target dev='sdb' bus='sata'/><boot order='1'/>"
            f"<address {samples.drive(0, 0, 0, 1)}/></disk>",
        )
        self.assertEqual("sata", samples.derive(original).bus)

    def test_cdrom_uses_the_bus_of_the_machine(self) -> None:
        self.assertEqual("ide", samples.derive(samples.domain("pc"), "cdrom").bus)
        self.assertEqual("sata", samples.derive(samples.domain("q35"), "cdrom").bus)


@ddt.ddt
class MachineTest(base.BaseTestCase):
    @ddt.data(
        ("q35", "disk", "ide"),
        ("q35", "cdrom", "ide"),
        ("q35", "cdrom", "virtio"),
        ("pc", "cdrom", "virtio"),
        ("pc", "disk", "sata"),
        ("pc", "disk", "fdc"),
        ("pc", "floppy", "usb"),
    )
    @ddt.unpack
    def test_impossible_device_is_refused_naming_possible_ones(
        self, machine: str, device: str, bus: str
    ) -> None:
        """U10, F17, F33."""
        refused = self.assertRaises(
            exception.Refused, samples.derive, samples.domain(machine), device, bus
        )
        self.assertIn(f"a {device}", str(refused))
        self.assertIn(f"{machine} supports disk on virtio, scsi, usb", str(refused))

    @ddt.data(
        ("aarch64", "pc"),
        ("x86_64", "microvm"),
        ("x86_64", "virt"),
        ("ppc64le", "pseries-7.2"),
        ("s390x", "s390-ccw-virtio-7.2"),
    )
    @ddt.unpack
    def test_unsupported_machine_is_refused(self, arch: str, machine: str) -> None:
        refused = self.assertRaises(
            exception.Refused, samples.derive, domain_of(machine, arch)
        )
        self.assertIn(f"{machine!r} on {arch} is not supported", str(refused))

    @ddt.data("pc", "pc-1.3", "pc-0.12", "pc-i440fx-7.2", "pc-i440fx-jammy")
    def test_pc_is_recognized_by_each_of_its_names(self, machine: str) -> None:
        self.assertEqual("ide", samples.derive(domain_of(machine), "cdrom").bus)

    @ddt.data("q35", "pc-q35-2.4", "pc-q35-9.1", "pc-q35-rhel9.4.0")
    def test_q35_is_recognized_by_each_of_its_names(self, machine: str) -> None:
        original = domain_of(machine, sample="q35")
        self.assertEqual("sata", samples.derive(original, "cdrom").bus)

    def test_virt_supports_cdrom_on_scsi_but_not_sata(self) -> None:
        original = domain_of("virt-7.2", "aarch64", sample="q35")
        self.assertEqual("scsi", samples.derive(original, "cdrom").bus)
        refused = self.assertRaises(
            exception.Refused, samples.derive, original, "disk", "sata"
        )
        self.assertIn("virt with UEFI supports disk on virtio, scsi, usb", str(refused))

    def test_floppy_is_refused_with_uefi(self) -> None:
        original = samples.domain("q35")
        etree.SubElement(original.root.find("os"), "nvram").text = "/vars.fd"
        refused = self.assertRaises(
            exception.Refused, samples.derive, original, "floppy", "fdc"
        )
        self.assertIn("q35 with UEFI supports disk on", str(refused))
