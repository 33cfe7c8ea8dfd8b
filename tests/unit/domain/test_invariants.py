# SPDX-License-Identifier: Apache-2.0
"""The invariants of rescue definitions detect each kind of violation."""

from collections.abc import Callable

import ddt
from lxml import etree
from oslotest import base

from stable_rescue import exception
from stable_rescue.domain import invariants
from stable_rescue.domain.document import Draft
from tests.unit.domain import samples


def _rename(rescue: Draft) -> None:
    rescue.root.find("name").text = "other"


def _drop_nic(rescue: Draft) -> None:
    rescue.devices.remove(rescue.devices.find("interface"))


def _move_disk(rescue: Draft) -> None:
    next(rescue.disks()).find("address").set("slot", "0x1e")


def _second_order(rescue: Draft) -> None:
    etree.SubElement(rescue.devices.find("interface"), "boot", order="2")


def _os_boot(rescue: Draft) -> None:
    etree.SubElement(rescue.root.find("os"), "boot", dev="hd")


def _same_address(rescue: Draft) -> None:
    first, *_rest, last = rescue.disks("virtio")
    last.replace(last.find("address"), first.find("address").__copy__())


def _same_target(rescue: Draft) -> None:
    list(rescue.disks())[-1].find("target").set("dev", "vda")


def _no_address(rescue: Draft) -> None:
    last = list(rescue.disks())[-1]
    last.remove(last.find("address"))


def _extra_nic(rescue: Draft) -> None:
    rescue.devices.insert(-1, etree.Element("interface"))


def _disk_not_last(rescue: Draft) -> None:
    samples.add(rescue, "<controller type='usb' index='9'><address/></controller>")


def _other_metadata(rescue: Draft) -> None:
    next(rescue.root.find("metadata").iter("{*}name")).text = "other"


def _comment_in_metadata(rescue: Draft) -> None:
    rescue.root.find("metadata").append(etree.Comment("new"))


def _section_gone(rescue: Draft) -> None:
    rescue.root.remove(rescue.root.find("clock"))


def _other_hypervisor(rescue: Draft) -> None:
    rescue.root.set("type", "kvm")


def _other_machine(rescue: Draft) -> None:
    rescue.root.find("os/type").set("machine", "q35")


def _other_cache(rescue: Draft) -> None:
    next(rescue.disks()).find("driver").set("cache", "writeback")


def _other_password(rescue: Draft) -> None:
    rescue.devices.find("graphics").set("passwd", "other")


def _boot_deep_inside(rescue: Draft) -> None:
    etree.SubElement(rescue.devices.find("serial/target"), "boot")


def _text_between(rescue: Draft) -> None:
    rescue.devices.find("rng/backend").tail = "text"


@ddt.ddt
class InvariantsTest(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.original = samples.domain("pc")
        self.rescue = samples.derive(self.original, "disk", "virtio").rescue

    def test_derived_definition_passes(self) -> None:
        self.assertIsNone(invariants.check(self.original, self.rescue))

    @ddt.data(
        _rename,
        _drop_nic,
        _move_disk,
        _second_order,
        _os_boot,
        _same_address,
        _same_target,
        _no_address,
        _extra_nic,
        _disk_not_last,
        _other_metadata,
        _comment_in_metadata,
        _section_gone,
        _other_hypervisor,
        _other_machine,
        _other_cache,
        _other_password,
        _boot_deep_inside,
        _text_between,
    )
    def test_violation_is_detected(self, spoil: Callable[[Draft], None]) -> None:
        spoil(self.rescue)
        self.assertRaises(
            exception.InvariantBroken, invariants.check, self.original, self.rescue
        )

    def test_first_serial_port_may_be_listed_twice(self) -> None:
        """libvirt repeats a pci-serial as a <console> with the same address."""
        for tag, kind in (("serial", "pci-serial"), ("console", "serial")):
            xml = f"<{tag} type='pty'><target type='{kind}' port='0'/>"
            xml += f"<address {samples.pci(0, 20)}/></{tag}>"
            samples.add(self.original, xml)
        self.assertIsNone(invariants.check_unique(self.original))

    @ddt.data("disk", "interface", "hostdev", "redirdev", "filesystem")
    def test_device_does_not_keep_its_boot_order(self, tag: str) -> None:
        original = samples.domain("pc")
        samples.add(original, f"<{tag}><boot order='3'/></{tag}>")
        rescue = samples.derive(original, "disk", "virtio").rescue
        (boot,) = rescue.root.iterfind(".//boot")
        self.assertEqual("1", boot.get("order"))

    def test_violation_in_the_original_is_refused(self) -> None:
        original = samples.domain("pc")
        samples.add_disk(original, "vda", "virtio", samples.pci(0, 20))
        refused = self.assertRaises(
            exception.Refused, samples.derive, original, "disk", "usb"
        )
        self.assertIn("is invalid: target vda occurs 2 times", str(refused))
