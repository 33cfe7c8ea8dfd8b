# SPDX-License-Identifier: Apache-2.0
"""The comparison of definitions finds each kind of difference, and no other."""

from collections.abc import Callable

import ddt
from lxml import etree
from oslotest import base

from stable_rescue.domain.compare import Comparison, compare
from stable_rescue.domain.document import Domain, Draft
from tests.unit.domain import samples


def compare_after(change: Callable[[Draft], object], name: str = "pc") -> Comparison:
    """Return the comparison of a sample with a changed copy of it."""
    original = samples.domain(name)
    changed = original.copy()
    change(changed)
    return compare(original, changed)


def titles(comparison: Comparison, kind: str) -> list[str]:
    """Return the devices with one kind of difference."""
    differing = getattr(comparison, kind)
    return [str(getattr(change, "device", change)) for change in differing]


def disk(domain: Domain, target: str) -> etree._Element:
    """Return a disk of a domain."""
    return domain.devices.find(f"disk/target[@dev='{target}']").getparent()


@ddt.ddt
class CompareTest(base.BaseTestCase):
    def assert_only(self, comparison: Comparison, **expected: list[str]) -> None:
        """Check that a comparison has the expected devices and no others."""
        kinds = ("moved", "renamed", "appeared", "vanished", "changed")
        self.assertEqual(
            {kind: [] for kind in kinds} | expected,
            {kind: titles(comparison, kind) for kind in kinds},
        )

    @ddt.data("pc", "q35")
    def test_equal_definitions_do_not_differ(self, name: str) -> None:
        comparison = compare_after(lambda domain: None, name)
        self.assert_only(comparison)
        self.assertEqual((), comparison.rest)
        devices = samples.domain(name).each_device()
        real = [device for device in devices if device.get("model") != "none"]
        self.assertEqual(len(real), len(comparison.originals))

    def test_white_space_and_notation_do_not_count(self) -> None:
        text = samples.read("pc")
        other = text.replace("\n", "\n\n").replace("slot='0x04'", "slot='4'")
        self.assertNotEqual(text, other)
        comparison = compare(Domain.parse(text), Domain.parse(other))
        self.assert_only(comparison)
        self.assertEqual((), comparison.rest)

    def test_order_of_devices_does_not_count(self) -> None:
        """F7: libvirt sorts disks."""

        def reorder(domain: Draft) -> None:
            domain.devices[:] = reversed(domain.devices)

        self.assert_only(compare_after(reorder))

    @ddt.data(
        ("disk/address", "slot", "0x1e", "disk vda"),
        ("disk/address", "bus", "0x01", "disk vda"),
        ("interface/address", "slot", "0x1e", "interface tap1"),
        ("rng/address", "function", "0x1", "rng virtio"),
        ("controller/address", "slot", "0x09", "controller ide 0"),
    )
    @ddt.unpack
    def test_device_with_another_address_has_moved(
        self, path: str, key: str, value: str, title: str
    ) -> None:
        comparison = compare_after(
            lambda domain: domain.devices.find(path).set(key, value)
        )
        self.assert_only(comparison, moved=[title])
        self.assertEqual([title], titles(comparison, "disturbed"))

    def test_devices_that_swapped_addresses_have_moved(self) -> None:
        def swap(domain: Draft) -> None:
            one, other = (disk(domain, name).find("address") for name in ("vda", "vdb"))
            one.getparent().append(other)
            disk(domain, "vdb").append(one)

        self.assert_only(compare_after(swap), moved=["disk vda", "disk vdb"])

    def test_device_that_lost_its_address_has_moved(self) -> None:
        """libvirt would assign another address."""

        def drop(domain: Draft) -> None:
            disk(domain, "vdb").remove(disk(domain, "vdb").find("address"))

        self.assertEqual(["disk vdb"], titles(compare_after(drop), "moved"))

    def test_disk_with_another_target_is_renamed(self) -> None:
        """Disks are matched by their source."""
        comparison = compare_after(
            lambda d: disk(d, "vdb").find("target").set("dev", "vdz")
        )
        self.assert_only(comparison, renamed=["disk vdb"])

    def test_disk_on_another_bus_is_renamed(self) -> None:
        comparison = compare_after(
            lambda d: disk(d, "vdb").find("target").set("bus", "scsi")
        )
        self.assert_only(comparison, renamed=["disk vdb"])

    def test_added_disk_has_appeared(self) -> None:
        comparison = compare_after(
            lambda d: samples.add_disk(d, "vdd", "virtio", samples.pci(0, 9))
        )
        self.assert_only(comparison, appeared=["disk vdd"])
        self.assertEqual((), comparison.disturbed)

    def test_removed_disk_has_vanished(self) -> None:
        comparison = compare_after(lambda domain: samples.remove_disk(domain, "vdb"))
        self.assert_only(comparison, vanished=["disk vdb"])
        self.assertEqual(["disk vdb"], titles(comparison, "disturbed"))

    def test_disk_in_place_of_another_has_appeared(self) -> None:
        def replace(domain: Draft) -> None:
            samples.remove_disk(domain, "vdb")
            samples.add_disk(domain, "vdd", "virtio", samples.pci(0, 5))

        self.assert_only(
            compare_after(replace), appeared=["disk vdd"], vanished=["disk vdb"]
        )

    def test_one_of_two_similar_devices_has_vanished(self) -> None:
        rng = "<rng model='virtio'><address {}/></rng>"
        first, second = (rng.format(samples.pci(0, slot)) for slot in (20, 21))
        one, two = samples.domain("pc"), samples.domain("pc")
        for xml in (first, second):
            samples.add(two, xml)
        samples.add(one, second)
        comparison = compare(two, one)
        self.assert_only(comparison, vanished=["rng virtio"])
        self.assertEqual("pci 0000:00:14.0", comparison.vanished[0].address)

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
    def test_device_with_other_content_has_changed(
        self, path: str, key: str, value: str, expected: tuple[str, str]
    ) -> None:
        comparison = compare_after(
            lambda domain: domain.devices.find(path).set(key, value)
        )
        title, difference = expected
        self.assert_only(comparison, changed=[title])
        self.assertEqual((difference,), comparison.changed[0].changed)

    def test_order_of_siblings_with_one_tag_counts(self) -> None:
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
    def test_change_outside_the_devices_is_in_the_rest(self, path: str) -> None:
        comparison = compare_after(
            lambda domain: setattr(domain.root.find(path), "text", "other")
        )
        self.assert_only(comparison)
        self.assertEqual((path,), comparison.rest)

    def test_type_of_the_domain_is_in_the_rest(self) -> None:
        comparison = compare_after(lambda domain: domain.root.set("type", "xen"))
        self.assertEqual(("@type",), comparison.rest)

    @ddt.data(("pc", "ide"), ("pc", "usb"), ("q35", "virtio"), ("q35", "scsi"))
    @ddt.unpack
    def test_rescue_disturbs_no_device(self, name: str, bus: str) -> None:
        derived = samples.derive(samples.domain(name), bus=bus)
        comparison = compare(derived.original, derived.rescue)
        self.assertEqual((), comparison.disturbed)
        self.assertEqual(["disk"], [d.kind for d in comparison.appeared if d.bus])
        self.assertEqual(("os/boot", "os/boot@dev"), comparison.rest)
        self.assertEqual([], titles(comparison, "changed"))

    def test_controller_in_place_of_model_none_has_appeared(self) -> None:
        controller = "devices/controller[@type='usb']"
        comparison = compare_after(
            lambda domain: domain.root.find(controller).set("model", "ehci")
        )
        self.assert_only(comparison, appeared=["controller usb 0 ehci"])

    def test_comparison_as_text_names_both_addresses(self) -> None:
        comparison = compare_after(
            lambda d: disk(d, "vdb").find("address").set("slot", "0x1e")
        )
        self.assertEqual(
            "moved: 1 of 17\n  disk vdb: vdb on virtio pci 0000:00:05.0 -> "
            "vdb on virtio pci 0000:00:1e.0",
            str(comparison),
        )

    def test_comparison_as_text_hides_a_changed_secret(self) -> None:
        comparison = compare_after(
            lambda d: d.devices.find("graphics").set("passwd", "hunter2")
        )
        self.assertIn("changed @passwd", str(comparison))
        self.assertNotIn("hunter2", str(comparison))
        self.assertNotIn("hunter2", repr(comparison))
