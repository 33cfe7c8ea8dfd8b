# SPDX-License-Identifier: Apache-2.0
"""Rescue definitions are the original plus the edits.

Golden files hold the differences between both. After an intended change,
``python -m tests.unit.domain.test_derive`` writes them anew.
"""

import difflib
from pathlib import Path

import ddt
from lxml import etree
from oslotest import base

from stable_rescue import exception, plan
from stable_rescue.domain import edits, recognize
from stable_rescue.domain.layout import layout_of
from tests.unit.domain import samples


def difference(machine: str, device: str, bus: str) -> str:
    """Return the lines that a rescue removes from a definition and adds to it."""
    derived = samples.derive(samples.domain(machine), device, bus)
    before, after = (
        definition.copy().to_xml().splitlines()
        for definition in (derived.original, derived.rescue)
    )
    lines = difflib.unified_diff(before, after, "original", "rescue", n=1, lineterm="")
    return "\n".join(lines) + "\n"


def golden(machine: str, device: str, bus: str) -> Path:
    return samples.GOLDEN / f"{machine}-{device}-{bus}.diff"


@ddt.ddt
class DeriveTest(base.BaseTestCase):
    @ddt.idata(samples.RESCUES)
    @ddt.unpack
    def test_rescue_definition_differs_as_in_golden_file(
        self, machine: str, device: str, bus: str
    ) -> None:
        expected = golden(machine, device, bus).read_text()
        self.assertEqual(expected, difference(machine, device, bus))

    @ddt.idata(samples.RESCUES)
    @ddt.unpack
    def test_original_devices_do_not_move(
        self, machine: str, device: str, bus: str
    ) -> None:
        """U1, U2."""
        derived = samples.derive(samples.domain(machine), device, bus)
        before, after = layout_of(derived.original), layout_of(derived.rescue)
        before.pop(samples.USB_NONE)
        self.assertEqual(before, {k: v for k, v in after.items() if k in before})

    def test_same_input_gives_the_same_bytes(self) -> None:
        original = samples.parsed("q35")
        first, second = (samples.derive(original, bus="usb") for _time in range(2))
        self.assertEqual(first.to_dict(), second.to_dict())

    def test_plan_keeps_the_text_of_the_original(self) -> None:
        derived = samples.derive(samples.parsed("q35"), bus="usb")
        self.assertEqual(samples.read("q35"), derived.original.to_xml())

    def test_plan_as_dict_has_plain_values_only(self) -> None:
        derived = samples.derive(samples.parsed("pc"), bus="usb")
        content = derived.to_dict()
        self.assertEqual(("usb", "disk"), (content["bus"], content["device"]))
        self.assertEqual(samples.read("pc"), content["original"])
        self.assertEqual(derived.rescue.to_xml(), content["rescue"])
        self.assertEqual(
            {"name", "what", "rule"}, {key for edit in content["edits"] for key in edit}
        )

    def test_secrets_and_metadata_are_kept(self) -> None:
        rescue = samples.derive(samples.domain("q35")).rescue.root
        self.assertEqual("secret", rescue.find("devices/graphics").get("passwd"))
        name = "{http://openstack.org/xmlns/libvirt/nova/1.1}name"
        self.assertEqual("web", rescue.find(f"metadata//{name}").text)

    def test_encryption_of_a_local_disk_is_kept(self) -> None:
        """U30."""
        original = samples.domain("q35")
        disk = next(original.disks("virtio"))
        disk.find("source").append(
            etree.fromstring(
                "<encryption format='luks'><secret type='passphrase' "
                "uuid='6f6cbbf2-6a0b-4b0d-a5b5-6f1c0a0c1f2e'/></encryption>"
            )
        )
        rescue = samples.derive(original, "disk", "usb").rescue
        self.assertEqual(
            etree.tostring(disk.find("source")),
            etree.tostring(next(rescue.disks("virtio")).find("source")),
        )

    def test_rescue_definition_is_refused(self) -> None:
        """U8: a second rescue would lose the original."""
        rescue = samples.derive(samples.domain("pc"), bus="usb").rescue
        refused = self.assertRaises(
            exception.Refused, samples.derive, rescue, "disk", "usb"
        )
        self.assertIn("already a rescue definition", str(refused))

    @ddt.data(
        "<source file='/var/lib/nova/instances/x/disk.rescue'/>",
        "<source protocol='rbd' name='vms/0f4b0a6e_disk.rescue'/>",
        "<source dev='/dev/vg/0f4b0a6e_disk.rescue'/>",
    )
    def test_stock_rescue_definition_is_refused(self, source: str) -> None:
        original = samples.domain("pc")
        disk = next(original.disks())
        disk.replace(disk.find("source"), etree.fromstring(source))
        refused = self.assertRaises(exception.Refused, samples.derive, original)
        self.assertIn("already a rescue definition", str(refused))


class BootTest(base.BaseTestCase):
    """The rescue disk has the only boot order (E1)."""

    def test_boot_orders_of_nics_are_removed(self) -> None:
        original = samples.domain("pc")
        original.root.remove(original.root.find("os"))
        original.root.append(
            etree.fromstring("<os><type arch='x86_64' machine='pc'>hvm</type></os>")
        )
        etree.SubElement(original.devices.find("interface"), "boot", order="1")
        rescue = samples.derive(original).rescue
        self.assertEqual(
            [recognize.rescue_disk(rescue)],
            [boot.getparent() for boot in rescue.root.iter("boot")],
        )

    def test_direct_kernel_boot_of_the_original_is_removed(self) -> None:
        """U13: the rescue would boot the broken root disk."""
        original = samples.domain("pc")
        for tag in ("kernel", "initrd", "cmdline"):
            etree.SubElement(original.root.find("os"), tag).text = "/x"
        derived = samples.derive(original)
        os_element = derived.rescue.root.find("os")
        self.assertEqual(["type", "smbios"], [child.tag for child in os_element])
        self.assertIn("U13", [edit.rule for edit in derived.edits])

    def test_kernel_of_the_rescue_image_replaces_the_original(self) -> None:
        original = samples.domain("pc")
        etree.SubElement(original.root.find("os"), "kernel").text = "/broken"
        kernel = edits.Kernel("/kernel.rescue", "/ramdisk.rescue", "root=/dev/vdd")
        media = plan.RescueMedia(samples.MEDIUM, kernel=kernel)
        derived = plan.derive(original, plan.RescueRequest(), media)
        os_element = derived.rescue.root.find("os")
        self.assertEqual(
            ["/kernel.rescue", "/ramdisk.rescue", "root=/dev/vdd"],
            [os_element.findtext(tag) for tag in ("kernel", "initrd", "cmdline")],
        )


class IoThreadTest(base.BaseTestCase):
    """The rescue disk shares the I/O thread of the server's disks (U27)."""

    def iothread_on(self, bus: str) -> str | None:
        original = samples.domain("q35")
        next(original.disks("virtio")).find("driver").set("iothread", "2")
        rescue = samples.derive(original, "disk", bus).rescue
        return recognize.rescue_disk(rescue).find("driver").get("iothread")

    def test_iothread_is_shared_on_virtio(self) -> None:
        self.assertEqual("2", self.iothread_on("virtio"))

    def test_iothread_is_not_used_on_usb(self) -> None:
        """libvirt rejects it on other buses than virtio."""
        self.assertIsNone(self.iothread_on("usb"))


if __name__ == "__main__":
    for rescue in samples.RESCUES:
        golden(*rescue).write_text(difference(*rescue))
