# SPDX-License-Identifier: Apache-2.0
"""The independent judge tells every kind of difference, and no other."""

from collections.abc import Callable

import ddt
from lxml import etree
from oslotest import base

from stable_rescue import plan
from stable_rescue.domain.compare import Comparison, compare
from stable_rescue.domain.document import Domain
from tests.unit.domain import samples


def after(spoil: Callable[[Domain], object], name: str = "pc") -> Comparison:
    """Return what the comparison finds of a change to a sample."""
    own = samples.domain(name)
    changed = own.copy()
    spoil(changed)
    return compare(own, changed)


def titles(found: Comparison, word: str) -> list[str]:
    """Return the devices of which a comparison says one word."""
    told = getattr(found, word)
    return [str(getattr(change, "device", change)) for change in told]


def disk(domain: Domain, target: str) -> etree._Element:
    return domain.devices.find(f"disk/target[@dev='{target}']").getparent()


@ddt.ddt
class CompareTest(base.BaseTestCase):
    def assert_only(self, found: Comparison, **expected: list[str]) -> None:
        words = ("moved", "renamed", "appeared", "vanished", "changed")
        told = {word: titles(found, word) for word in words}
        self.assertEqual({word: [] for word in words} | expected, told)

    @ddt.data("pc", "q35")
    def test_the_same_is_the_same(self, name: str) -> None:
        found = after(lambda domain: None, name)
        self.assert_only(found)
        self.assertEqual((), found.rest)
        every = samples.domain(name).each_device()
        there = [device for device in every if device.get("model") != "none"]
        self.assertEqual(len(there), len(found.originals))

    def test_neither_white_space_nor_ways_to_write_count(self) -> None:
        text = samples.read("pc")
        other = text.replace("\n", "\n\n").replace("slot='0x04'", "slot='4'")
        self.assertNotEqual(text, other)
        found = compare(Domain.parse(text), Domain.parse(other))
        self.assert_only(found)
        self.assertEqual((), found.rest)

    def test_nor_does_the_order_of_devices(self) -> None:
        """LIBVIRT F7: libvirt sorts disks."""

        def reorder(domain: Domain) -> None:
            domain.devices[:] = reversed(domain.devices)

        self.assert_only(after(reorder))

    @ddt.data(
        ("disk/address", "slot", "0x1e", "disk vda"),
        ("disk/address", "bus", "0x01", "disk vda"),
        ("interface/address", "slot", "0x1e", "interface tap1"),
        ("rng/address", "function", "0x1", "rng virtio"),
        ("controller/address", "slot", "0x09", "controller ide 0"),
    )
    @ddt.unpack
    def test_moved(self, path: str, key: str, value: str, title: str) -> None:
        found = after(lambda domain: domain.devices.find(path).set(key, value))
        self.assert_only(found, moved=[title])
        self.assertEqual([title], titles(found, "disturbed"))

    def test_two_that_swapped_places_have_moved(self) -> None:
        def swap(domain: Domain) -> None:
            one, other = (disk(domain, name).find("address") for name in ("vda", "vdb"))
            one.getparent().append(other)
            disk(domain, "vdb").append(one)

        self.assert_only(after(swap), moved=["disk vda", "disk vdb"])

    def test_without_an_address_it_has_moved(self) -> None:
        """libvirt would give it another."""

        def drop(domain: Domain) -> None:
            disk(domain, "vdb").remove(disk(domain, "vdb").find("address"))

        self.assertEqual(["disk vdb"], titles(after(drop), "moved"))

    def test_renamed(self) -> None:
        """A disk is known again by its source."""
        found = after(lambda d: disk(d, "vdb").find("target").set("dev", "vdz"))
        self.assert_only(found, renamed=["disk vdb"])

    def test_another_bus_is_another_target(self) -> None:
        found = after(lambda d: disk(d, "vdb").find("target").set("bus", "scsi"))
        self.assert_only(found, renamed=["disk vdb"])

    def test_appeared(self) -> None:
        found = after(lambda d: samples.add_disk(d, "vdd", "virtio", samples.pci(0, 9)))
        self.assert_only(found, appeared=["disk vdd"])
        self.assertEqual((), found.disturbed)

    def test_vanished(self) -> None:
        found = after(lambda domain: samples.remove_disk(domain, "vdb"))
        self.assert_only(found, vanished=["disk vdb"])
        self.assertEqual(["disk vdb"], titles(found, "disturbed"))

    def test_another_in_its_place_is_another(self) -> None:
        def replace(domain: Domain) -> None:
            samples.remove_disk(domain, "vdb")
            samples.add_disk(domain, "vdd", "virtio", samples.pci(0, 5))

        self.assert_only(after(replace), appeared=["disk vdd"], vanished=["disk vdb"])

    def test_one_of_two_alike_that_vanished(self) -> None:
        rng = "<rng model='virtio'><address {}/></rng>"
        first, second = (rng.format(samples.pci(0, slot)) for slot in (20, 21))
        one, two = samples.domain("pc"), samples.domain("pc")
        for xml in (first, second):
            samples.add(two, xml)
        samples.add(one, second)
        found = compare(two, one)
        self.assert_only(found, vanished=["rng virtio"])
        self.assertEqual("pci 0000:00:14.0", found.vanished[0].address)

    @ddt.data(
        ("disk/source", "file", "/other", ("disk vda", "source@file")),
        ("disk/driver", "cache", "writeback", ("disk vda", "driver@cache")),
        ("video/model", "type", "qxl", ("video", "model@type")),
        ("interface/model", "type", "e1000", ("interface tap1", "model@type")),
        (
            "disk/address",
            "multifunction",
            "on",
            ("disk vda", "address@multifunction"),
        ),
    )
    @ddt.unpack
    def test_changed(
        self, path: str, key: str, value: str, told: tuple[str, str]
    ) -> None:
        found = after(lambda domain: domain.devices.find(path).set(key, value))
        self.assert_only(found, changed=[told[0]])
        self.assertEqual((told[1],), found.changed[0].changed)

    def test_values_among_siblings_of_one_name_are_not_mixed_up(self) -> None:
        entries = "<entry name='{}'>1</entry><entry name='{}'>2</entry>"
        one, other = samples.domain("pc"), samples.domain("pc")
        for domain, names in ((one, "ab"), (other, "ba")):
            system = domain.root.find("sysinfo/system")
            system.extend(etree.fromstring(f"<x>{entries.format(*names)}</x>"))
        self.assertEqual(
            ("sysinfo/system/entry[2]@name", "sysinfo/system/entry[3]@name"),
            compare(one, other).rest,
        )

    @ddt.data("name", "uuid", "vcpu", "os/type", "metadata")
    def test_what_changed_outside_the_devices(self, path: str) -> None:
        found = after(lambda domain: setattr(domain.root.find(path), "text", "other"))
        self.assert_only(found)
        self.assertEqual((path,), found.rest)

    def test_the_type_of_a_domain(self) -> None:
        found = after(lambda domain: domain.root.set("type", "xen"))
        self.assertEqual(("@type",), found.rest)

    @ddt.data(("pc", "ide"), ("pc", "usb"), ("q35", "virtio"), ("q35", "scsi"))
    @ddt.unpack
    def test_a_rescue_disturbs_nothing(self, name: str, bus: str) -> None:
        own = samples.domain(name)
        made = plan.derive(own, plan.RescueRequest(bus=bus), samples.MEDIA)
        found = compare(own, made.rescue)
        self.assertEqual((), found.disturbed)
        self.assertEqual(["disk"], [d.kind for d in found.appeared if d.bus])
        self.assertEqual(("os/boot", "os/boot@dev"), found.rest)
        self.assertEqual([], titles(found, "changed"))

    def test_a_controller_in_place_of_model_none_has_appeared(self) -> None:
        controller = "devices/controller[@type='usb']"
        found = after(lambda domain: domain.root.find(controller).set("model", "ehci"))
        self.assert_only(found, appeared=["controller usb 0 ehci"])

    def test_told_to_a_person(self) -> None:
        found = after(lambda d: disk(d, "vdb").find("address").set("slot", "0x1e"))
        self.assertEqual(
            "moved: 1 of 17\n  disk vdb: vdb on virtio pci 0000:00:05.0 -> "
            "vdb on virtio pci 0000:00:1e.0",
            str(found),
        )

    def test_a_secret_that_changed_is_not_told(self) -> None:
        found = after(lambda d: d.devices.find("graphics").set("passwd", "hunter2"))
        self.assertIn("changed @passwd", str(found))
        self.assertNotIn("hunter2", str(found))
        self.assertNotIn("hunter2", repr(found))
