# SPDX-License-Identifier: Apache-2.0
"""Definitions in, rescue definitions out: golden files hold what lies between.

After a wanted change: ``python -m tests.unit.domain.test_derive`` writes them anew.
"""

import difflib
from pathlib import Path

import ddt
from lxml import etree
from oslotest import base

from stable_rescue import exception, plan
from stable_rescue.domain import edits, recognise
from stable_rescue.domain.document import Domain
from stable_rescue.domain.layout import layout_of
from stable_rescue.domain.medium import Medium
from tests.unit.domain import samples

CASES = [
    ("pc", "disk", "virtio"),
    ("pc", "disk", "usb"),
    ("pc", "disk", "scsi"),
    ("pc", "disk", "ide"),
    ("pc", "cdrom", "ide"),
    ("pc", "cdrom", "scsi"),
    ("pc", "cdrom", "usb"),
    ("q35", "disk", "virtio"),
    ("q35", "disk", "usb"),
    ("q35", "disk", "scsi"),
    ("q35", "disk", "sata"),
    ("q35", "cdrom", "sata"),
    ("q35", "cdrom", "scsi"),
    ("q35", "cdrom", "usb"),
    ("pc", "floppy", "fdc"),
    ("q35", "floppy", "fdc"),
]


def derive(
    original: Domain, device: str = "disk", bus: str | None = None
) -> plan.RescuePlan:
    request = plan.RescueRequest(device, bus)
    return plan.derive(original, request, samples.MEDIA)


def difference(machine: str, device: str, bus: str) -> str:
    """Return the lines that a rescue takes from and adds to a definition."""
    made = derive(samples.domain(machine), device, bus)
    before, after = (
        definition.copy().to_xml().splitlines()
        for definition in (made.original, made.rescue)
    )
    lines = difflib.unified_diff(before, after, "original", "rescue", n=1, lineterm="")
    return "\n".join(lines) + "\n"


def golden(machine: str, device: str, bus: str) -> Path:
    return samples.GOLDEN / f"{machine}-{device}-{bus}.diff"


@ddt.ddt
class DeriveTest(base.BaseTestCase):
    @ddt.idata(CASES)
    @ddt.unpack
    def test_golden(self, machine: str, device: str, bus: str) -> None:
        expected = golden(machine, device, bus).read_text()
        self.assertEqual(expected, difference(machine, device, bus))

    @ddt.idata(CASES)
    @ddt.unpack
    def test_no_original_device_moves(
        self, machine: str, device: str, bus: str
    ) -> None:
        made = derive(samples.domain(machine), device, bus)
        before = layout_of(made.original)
        after = layout_of(made.rescue)
        # The one controller that may change: USB of model none (LIBVIRT.md).
        before.pop(("controller", "usb", "0", "none", "", "1"))
        after.pop(("controller", "usb", "0", "none", "", "1"), None)
        self.assertEqual(before, {k: v for k, v in after.items() if k in before})

    def test_the_same_input_gives_the_same_bytes(self) -> None:
        own = samples.parsed("q35")
        first, second = (derive(own, bus="usb").to_dict() for _time in range(2))
        self.assertEqual(first, second)
        self.assertEqual(samples.read("q35"), first["original"])

    def test_bus_defaults_to_that_of_the_servers_root_disk(self) -> None:
        self.assertEqual("virtio", derive(samples.domain("q35")).bus)
        own = samples.domain("pc")
        for name in ("vda", "vdb", "vdc"):
            samples.remove_disk(own, name)
        samples.add_disk(own, "hdc", "ide", samples.drive(0, 1, 0, 0))
        self.assertEqual("ide", derive(own).bus)

    def test_root_disk_is_the_one_that_boots_first(self) -> None:
        own = samples.domain("q35")
        for boot in own.root.findall("os/boot"):
            boot.getparent().remove(boot)
        samples.add(
            own,
            "<disk type='file' device='disk'><source file='/b'/>"
            "<target dev='sdb' bus='sata'/><boot order='1'/>"
            f"<address {samples.drive(0, 0, 0, 1)}/></disk>",
        )
        self.assertEqual("sata", derive(own).bus)

    def test_cdrom_defaults_to_what_the_machine_has(self) -> None:
        self.assertEqual("ide", derive(samples.domain("pc"), "cdrom").bus)
        self.assertEqual("sata", derive(samples.domain("q35"), "cdrom").bus)

    def test_boot_orders_of_nics_go_too(self) -> None:
        own = samples.domain("pc")
        own.root.remove(own.root.find("os"))
        own.root.append(
            etree.fromstring("<os><type arch='x86_64' machine='pc'>hvm</type></os>")
        )
        etree.SubElement(own.devices.find("interface"), "boot", order="1")
        after = derive(own).rescue
        self.assertEqual(
            [recognise.rescue_disk(after)],
            [boot.getparent() for boot in after.root.iter("boot")],
        )

    def test_direct_kernel_boot_of_the_original_goes(self) -> None:
        """UPSTREAM U13: else the rescue boots the broken root."""
        own = samples.domain("pc")
        for tag in ("kernel", "initrd", "cmdline"):
            etree.SubElement(own.root.find("os"), tag).text = "/x"
        made = derive(own)
        os_element = made.rescue.root.find("os")
        self.assertEqual(["type", "smbios"], [child.tag for child in os_element])
        self.assertIn("U13", [edit.rule for edit in made.edits])

    def test_secrets_and_metadata_survive(self) -> None:
        after = derive(samples.domain("q35")).rescue.root
        self.assertEqual("secret", after.find("devices/graphics").get("passwd"))
        name = "{http://openstack.org/xmlns/libvirt/nova/1.1}name"
        self.assertEqual("web", after.find(f"metadata//{name}").text)

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
    def test_the_impossible_is_refused_naming_the_possible(
        self, machine: str, device: str, bus: str
    ) -> None:
        """UPSTREAM U10."""
        refused = self.assertRaises(
            exception.Refused, derive, samples.domain(machine), device, bus
        )
        self.assertIn(f"a {device}", str(refused))
        self.assertIn(f"{machine} takes disk on virtio, scsi, usb", str(refused))

    def test_a_rescue_definition_is_no_input(self) -> None:
        """UPSTREAM U8: else a second rescue loses the original."""
        once = derive(samples.domain("pc"), bus="usb").rescue
        refused = self.assertRaises(exception.Refused, derive, once, "disk", "usb")
        self.assertIn("already a rescue definition", str(refused))

    @ddt.data(
        "<source file='/var/lib/nova/instances/x/disk.rescue'/>",
        "<source protocol='rbd' name='vms/0f4b0a6e_disk.rescue'/>",
        "<source dev='/dev/vg/0f4b0a6e_disk.rescue'/>",
    )
    def test_nor_is_one_of_novas(self, source: str) -> None:
        own = samples.domain("pc")
        disk = next(own.disks())
        disk.replace(disk.find("source"), etree.fromstring(source))
        refused = self.assertRaises(exception.Refused, derive, own)
        self.assertIn("already a rescue definition", str(refused))

    @ddt.data(
        ("aarch64", "pc"),
        ("x86_64", "microvm"),
        ("x86_64", "virt"),
        ("ppc64le", "pseries-7.2"),
        ("s390x", "s390-ccw-virtio-7.2"),
    )
    @ddt.unpack
    def test_unknown_machines_are_refused(self, arch: str, machine: str) -> None:
        own = samples.domain("pc")
        own.root.find("os/type").set("arch", arch)
        own.root.find("os/type").set("machine", machine)
        refused = self.assertRaises(exception.Refused, derive, own)
        self.assertIn(f"{machine!r} on {arch} is not supported", str(refused))

    @ddt.data("pc", "pc-1.3", "pc-0.12", "pc-i440fx-7.2", "pc-i440fx-jammy")
    def test_names_of_pc(self, machine: str) -> None:
        own = samples.domain("pc")
        own.root.find("os/type").set("machine", machine)
        self.assertEqual("ide", derive(own, "cdrom").bus)

    @ddt.data("q35", "pc-q35-2.4", "pc-q35-9.1", "pc-q35-rhel9.4.0")
    def test_names_of_q35(self, machine: str) -> None:
        own = samples.domain("q35")
        own.root.find("os/type").set("machine", machine)
        self.assertEqual("sata", derive(own, "cdrom").bus)

    def test_virt(self) -> None:
        own = samples.domain("q35")
        own.root.find("os/type").set("arch", "aarch64")
        own.root.find("os/type").set("machine", "virt-7.2")
        self.assertEqual("scsi", derive(own, "cdrom").bus)
        refused = self.assertRaises(exception.Refused, derive, own, "disk", "sata")
        self.assertIn("virt with UEFI takes disk on virtio, scsi, usb", str(refused))

    def test_uefi_has_no_floppy(self) -> None:
        own = samples.domain("q35")
        etree.SubElement(own.root.find("os"), "nvram").text = "/vars.fd"
        refused = self.assertRaises(exception.Refused, derive, own, "floppy", "fdc")
        self.assertIn("q35 with UEFI takes disk on", str(refused))

    def test_secure_boot_is_a_finding(self) -> None:
        """LIBVIRT F6."""
        own = samples.domain("q35")
        os_element = own.root.find("os")
        etree.SubElement(os_element, "loader", secure="yes", type="pflash").text = "/c"
        etree.SubElement(os_element, "nvram").text = "/vars.fd"
        self.assertIn("secure boot", derive(own).findings[0])

    def test_a_rescue_image_with_its_own_kernel(self) -> None:
        own = samples.domain("pc")
        etree.SubElement(own.root.find("os"), "kernel").text = "/broken"
        made = plan.derive(
            own,
            plan.RescueRequest(),
            plan.RescueMedia(
                samples.MEDIUM,
                kernel=edits.Kernel(
                    "/kernel.rescue", "/ramdisk.rescue", "root=/dev/vdd"
                ),
            ),
        )
        os_element = made.rescue.root.find("os")
        self.assertEqual(
            ["/kernel.rescue", "/ramdisk.rescue", "root=/dev/vdd"],
            [os_element.findtext(tag) for tag in ("kernel", "initrd", "cmdline")],
        )


@ddt.ddt
class ConfigDriveTest(base.BaseTestCase):
    """UPSTREAM U3: the regenerated one, in the slot of the old one."""

    def test_in_its_slot(self) -> None:
        made = plan.derive(
            samples.domain("q35"),
            plan.RescueRequest(bus="usb"),
            plan.RescueMedia(samples.MEDIUM, replaces_config_drive=True),
        )
        before = layout_of(made.original)
        after = layout_of(made.rescue)
        known = ("disk", "sda", "sata", "1")
        changed = {key for key in before if after.get(key) != before[key]}
        self.assertEqual({("controller", "usb", "0", "none", "", "1"), known}, changed)
        self.assertEqual(
            [
                f"{part}.rescue" if part.endswith("disk.config") else part
                for part in before[known]
            ],
            list(after[known]),
        )

    @ddt.data("<source protocol='rbd' name='vms/0f4b_disk.config'/>")
    def test_of_rbd(self, source: str) -> None:
        own = samples.domain("pc")
        drive = next(own.disks("ide"))
        drive.replace(drive.find("source"), etree.fromstring(source))
        made = plan.derive(
            own,
            plan.RescueRequest(),
            plan.RescueMedia(samples.MEDIUM, replaces_config_drive=True),
        )
        self.assertIn('name="vms/0f4b_disk.config.rescue"', made.rescue.to_xml())

    def test_a_server_without_one_is_left_as_it_is(self) -> None:
        own = samples.domain("pc")
        samples.remove_disk(own, "hda")
        made = plan.derive(
            own,
            plan.RescueRequest(),
            plan.RescueMedia(samples.MEDIUM, replaces_config_drive=True),
        )
        self.assertNotIn("config drive", [edit.name for edit in made.edits])


@ddt.ddt
class AddedConfigDriveTest(base.BaseTestCase):
    """[stable_rescue] config_drive = always: one for a server without, for a time."""

    def derive(
        self, own: Domain, request: plan.RescueRequest, device: str = "cdrom"
    ) -> plan.RescuePlan:
        drive = Medium(
            f"<disk type='file' device='{device}'><driver name='qemu' type='raw'/>"
            "<source file='/i/disk.config.rescue'/></disk>"
        )
        media = plan.RescueMedia(samples.MEDIUM, config_drive=drive)
        return plan.derive(own, request, media)

    def without(self, machine: str) -> Domain:
        own = samples.domain(machine)
        samples.remove_disk(own, {"pc": "hda", "q35": "sda"}[machine])
        return own

    @ddt.idata(CASES)
    @ddt.unpack
    def test_behind_all_others_and_before_the_rescue_disk(
        self, machine: str, device: str, bus: str
    ) -> None:
        own = self.without(machine)
        made = self.derive(own, plan.RescueRequest(device, bus))
        rescued = made.rescue
        *others, drive, last = rescued.disks()
        self.assertEqual(len(list(own.disks())), len(others))
        self.assertEqual("/i/disk.config.rescue", drive.find("source").get("file"))
        self.assertEqual("cdrom", drive.get("device"))
        self.assertIsNotNone(drive.find("readonly"))
        self.assertIsNone(drive.find("boot"))
        self.assertIs(recognise.rescue_disk(rescued), last)
        before, after = layout_of(own), layout_of(rescued)
        before.pop(("controller", "usb", "0", "none", "", "1"))
        self.assertEqual(before, {k: v for k, v in after.items() if k in before})

    def test_as_a_disk(self) -> None:
        """[DEFAULT] config_drive_format = vfat."""
        made = self.derive(self.without("q35"), plan.RescueRequest(bus="usb"), "disk")
        *_, drive, _last = made.rescue.disks()
        self.assertEqual("virtio", drive.find("target").get("bus"))

    def test_no_room(self) -> None:
        own = self.without("pc")
        for place in range(4):
            address = samples.drive(0, place // 2, 0, place % 2)
            samples.add_disk(own, f"hd{'abcd'[place]}", "ide", address)
        self.assertRaises(
            exception.NoRoom, self.derive, own, plan.RescueRequest("cdrom", "ide")
        )

    def test_a_server_that_has_one_keeps_it(self) -> None:
        own = samples.domain("q35")
        made = self.derive(own, plan.RescueRequest(bus="usb"))
        self.assertEqual(len(list(own.disks())) + 1, len(list(made.rescue.disks())))

    def test_it_leaves_the_rescue_disk_its_room(self) -> None:
        """Of the four places on ide one is left: the drive goes elsewhere."""
        own = self.without("pc")
        for place in range(3):
            address = samples.drive(0, place // 2, 0, place % 2)
            samples.add_disk(own, f"hd{'abc'[place]}", "ide", address)
        made = self.derive(own, plan.RescueRequest("cdrom", "ide"))
        *_, drive, last = made.rescue.disks()
        self.assertEqual(
            ["scsi", "ide"], [disk.find("target").get("bus") for disk in (drive, last)]
        )


class EncryptedTest(base.BaseTestCase):
    def test_a_disk_that_nova_encrypts_keeps_its_key(self) -> None:
        """UPSTREAM U30."""
        own = samples.domain("q35")
        disk = next(own.disks("virtio"))
        disk.find("source").append(
            etree.fromstring(
                "<encryption format='luks'><secret type='passphrase' "
                "uuid='6f6cbbf2-6a0b-4b0d-a5b5-6f1c0a0c1f2e'/></encryption>"
            )
        )
        made = derive(own, "disk", "usb")
        found = next(made.rescue.disks("virtio"))
        self.assertEqual(
            etree.tostring(disk.find("source")), etree.tostring(found.find("source"))
        )


class IoThreadTest(base.BaseTestCase):
    """UPSTREAM U27: as the server's own disks, where the bus can have one."""

    def iothread_on(self, bus: str) -> str | None:
        own = samples.domain("q35")
        next(own.disks("virtio")).find("driver").set("iothread", "2")
        made = derive(own, "disk", bus)
        disk = recognise.rescue_disk(made.rescue)
        return disk.find("driver").get("iothread")

    def test_on_virtio(self) -> None:
        self.assertEqual("2", self.iothread_on("virtio"))

    def test_on_other_buses_libvirt_refuses_it(self) -> None:
        self.assertIsNone(self.iothread_on("usb"))


class OvertakenTest(base.BaseTestCase):
    """Disks on scsi, sata and usb share their names."""

    def setUp(self) -> None:
        super().setUp()
        own = samples.domain("q35")
        samples.add(
            own,
            "<controller type='scsi' index='0' model='virtio-scsi'>"
            f"<address {samples.pci(7, 0)}/></controller>",
        )
        samples.add_disk(own, "sdb", "scsi", samples.drive(0, 0, 0, 0))
        self.own = own

    def test_a_disk_behind_the_rescue_disk_is_a_finding(self) -> None:
        found = derive(self.own, bus="sata").findings
        self.assertEqual(1, len(found))
        self.assertIn("comes before sdb", found[0])

    def test_the_same_controller_overtakes_none(self) -> None:
        self.assertEqual((), derive(self.own, bus="scsi").findings)

    def test_nor_does_one_of_its_own(self) -> None:
        self.assertEqual((), derive(self.own, bus="usb").findings)

    def test_nor_does_virtio(self) -> None:
        self.assertEqual((), derive(self.own, bus="virtio").findings)


class FallbackTest(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        own = samples.domain("pc")
        samples.add_disk(own, "vde", "virtio", samples.pci(0, 31))
        self.full = own

    def test_without_leave_the_first_buss_reason_is_told(self) -> None:
        refused = self.assertRaises(exception.NoRoom, derive, self.full)
        self.assertIn("PCI", str(refused))

    def test_the_first_that_has_room_is_taken(self) -> None:
        request = plan.RescueRequest(fallback_buses=("scsi", "sata", "ide"))
        made = plan.derive(self.full, request, samples.MEDIA)
        self.assertEqual("ide", made.bus)
        self.assertEqual(
            ("bus virtio has no room; ide is used instead",), made.findings
        )

    def test_a_gap_where_it_is_allowed_is_a_finding(self) -> None:
        request = plan.RescueRequest(gaps=True)
        made = plan.derive(self.full, request, samples.MEDIA)
        self.assertEqual("virtio", made.bus)
        self.assertIn("vdf sits in a gap", made.findings[0])

    def test_a_plan_is_plain_values_for_output(self) -> None:
        found = derive(samples.domain("pc"), bus="usb").to_dict()
        self.assertEqual(("usb", "disk"), (found["bus"], found["device"]))
        self.assertEqual(
            {"name", "what", "rule"}, {key for edit in found["edits"] for key in edit}
        )


if __name__ == "__main__":
    for case in CASES:
        golden(*case).write_text(difference(*case))
