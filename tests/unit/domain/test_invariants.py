# SPDX-License-Identifier: Apache-2.0
"""The judge of derived definitions finds each kind of fault."""

from collections.abc import Callable

import ddt
from lxml import etree
from oslotest import base

from stable_rescue import exception, plan
from stable_rescue.domain import invariants
from stable_rescue.domain.document import Domain
from tests.unit.domain import samples


def _rename(after: Domain) -> None:
    after.root.find("name").text = "other"


def _drop_nic(after: Domain) -> None:
    after.devices.remove(after.devices.find("interface"))


def _move_disk(after: Domain) -> None:
    next(after.disks()).find("address").set("slot", "0x1e")


def _second_order(after: Domain) -> None:
    etree.SubElement(after.devices.find("interface"), "boot", order="2")


def _os_boot(after: Domain) -> None:
    etree.SubElement(after.root.find("os"), "boot", dev="hd")


def _same_address(after: Domain) -> None:
    first, *_rest, last = after.disks("virtio")
    last.replace(last.find("address"), first.find("address").__copy__())


def _same_target(after: Domain) -> None:
    list(after.disks())[-1].find("target").set("dev", "vda")


def _no_address(after: Domain) -> None:
    last = list(after.disks())[-1]
    last.remove(last.find("address"))


def _extra_nic(after: Domain) -> None:
    after.devices.insert(-1, etree.Element("interface"))


def _disk_not_last(after: Domain) -> None:
    samples.add(after, "<controller type='usb' index='9'><address/></controller>")


def _other_metadata(after: Domain) -> None:
    next(after.root.find("metadata").iter("{*}name")).text = "other"


def _comment_in_metadata(after: Domain) -> None:
    after.root.find("metadata").append(etree.Comment("new"))


def _section_gone(after: Domain) -> None:
    after.root.remove(after.root.find("clock"))


def _other_hypervisor(after: Domain) -> None:
    after.root.set("type", "kvm")


def _other_machine(after: Domain) -> None:
    after.root.find("os/type").set("machine", "q35")


def _other_cache(after: Domain) -> None:
    next(after.disks()).find("driver").set("cache", "writeback")


def _other_password(after: Domain) -> None:
    after.devices.find("graphics").set("passwd", "other")


def _boot_deep_inside(after: Domain) -> None:
    etree.SubElement(after.devices.find("serial/target"), "boot")


def _text_between(after: Domain) -> None:
    after.devices.find("rng/backend").tail = "text"


@ddt.ddt
class InvariantsTest(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.before = samples.domain("pc")
        request = plan.RescueRequest("disk", "virtio")
        self.after = plan.derive(self.before, request, samples.MEDIA).rescue

    def test_a_derived_definition_passes(self) -> None:
        self.assertIsNone(invariants.check(self.before, self.after))

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
    def test_faults_are_found(self, spoil: Callable[[Domain], None]) -> None:
        spoil(self.after)
        self.assertRaises(
            exception.InvariantBroken, invariants.check, self.before, self.after
        )

    def test_the_first_serial_port_is_told_of_twice(self) -> None:
        """A pci-serial, and libvirt's <console> for it, with the same address."""
        for tag, kind in (("serial", "pci-serial"), ("console", "serial")):
            xml = f"<{tag} type='pty'><target type='{kind}' port='0'/>"
            xml += f"<address {samples.pci(0, 20)}/></{tag}>"
            samples.add(self.before, xml)
        self.assertIsNone(invariants.check_unique(self.before))

    @ddt.data("disk", "interface", "hostdev", "redirdev", "filesystem")
    def test_no_device_keeps_its_boot_order(self, tag: str) -> None:
        own = samples.domain("pc")
        samples.add(own, f"<{tag}><boot order='3'/></{tag}>")
        request = plan.RescueRequest("disk", "virtio")
        made = plan.derive(own, request, samples.MEDIA)
        (boot,) = made.rescue.root.iterfind(".//boot")
        self.assertEqual("1", boot.get("order"))

    def test_a_fault_of_the_original_is_not_ours(self) -> None:
        own = samples.domain("pc")
        samples.add_disk(own, "vda", "virtio", samples.pci(0, 20))
        request = plan.RescueRequest("disk", "usb")
        refused = self.assertRaises(
            exception.Refused, plan.derive, own, request, samples.MEDIA
        )
        self.assertIn("is invalid: target vda occurs 2 times", str(refused))
