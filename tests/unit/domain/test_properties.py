# SPDX-License-Identifier: Apache-2.0
"""What holds for every domain and every rescue of it (DESIGN.md).

Nothing here is told by the code under test: domain.compare shares none with it, and
what the guest enumerates is drawn up anew below. Set HYPOTHESIS_EXPLORE to look at
other domains than the last time.
"""

import os
import re
from collections import Counter

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from lxml import etree
from oslotest import base

from stable_rescue import exception, plan
from stable_rescue.domain import edits
from stable_rescue.domain.compare import compare
from stable_rescue.domain.document import Domain
from tests.unit.domain import samples
from tests.unit.domain.strategies import domains, requests

_BOUNDED = settings(
    max_examples=int(os.environ.get("HYPOTHESIS_EXPLORE", "200")),
    derandomize="HYPOTHESIS_EXPLORE" not in os.environ,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
)
_RESCUE = "devices/disk/alias[@name='ua-stable-rescue']/.."
_BOOT = re.compile(r"boot(@.*)?")
# DESIGN.md, edits 1 and 6; with a NVRAM copy the firmware's selection goes.
_OUTSIDE = re.compile(
    r"os/(boot(\[\d\])?(@dev)?|kernel|initrd|cmdline|nvram(@template)?)|os@firmware"
)
_PCI = ("domain", "bus", "slot", "function")


def derive(definition: str, request: plan.RescueRequest) -> plan.RescuePlan | None:
    """Return the plan, or None where it is refused with a reason."""
    try:
        return plan.derive(Domain.parse(definition), request, samples.MEDIA)
    except exception.Refused as refused:
        assert str(refused)
        return None


def seen_by_the_guest(root: etree._Element) -> dict[tuple[int, ...], int]:
    """Return each PCI function's rank as the kernel adds them (LIBVIRT F7).

    A bus's own functions come first, then what is behind each bridge of it.
    """
    on_bus: dict[int, list[tuple[int, ...]]] = {}
    behind: dict[tuple[int, ...], int] = {}
    for device in root.find("devices"):
        address = device.find("address[@type='pci']")
        if address is None:
            continue
        place = tuple(int(address.get(key), 16) for key in _PCI)
        on_bus.setdefault(place[1], []).append(place)
        if device.get("type") == "pci" and device.tag == "controller":
            behind[place] = int(device.get("index"))
    found: list[tuple[int, ...]] = []

    def scan(bus: int) -> None:
        own = sorted(on_bus.get(bus, ()))
        found.extend(own)
        for place in own:
            if place in behind:
                scan(behind[place])

    scan(0)
    return {place: rank for rank, place in enumerate(found)}


def place_of(device: etree._Element, root: etree._Element) -> tuple[int, ...]:
    """Return what orders a disk among all of its bus, as the guest sees them."""
    ranks = seen_by_the_guest(root)
    address = device.find("address")
    if address.get("type") == "pci":
        return (ranks[tuple(int(address.get(key), 16) for key in _PCI)],)
    usb = address.get("type") == "usb"
    kind = "usb" if usb else device.find("target").get("bus")
    index = address.get("bus" if usb else "controller")
    controllers = [
        controller
        for controller in root.findall("devices/controller")
        if (controller.get("type"), controller.get("index")) == (kind, index)
        and controller.find("address") is not None
    ]
    own = controllers[0].find("address") if controllers else None
    # A floppy's controller has no address, nor has what the migratable form omits.
    rank = -1 if own is None else ranks[tuple(int(own.get(k), 16) for k in _PCI)]
    keys = ("port",) if usb else ("bus", "target", "unit")
    return (rank, *(int(address.get(key)) for key in keys))


class PropertiesTest(base.BaseTestCase):
    @_BOUNDED
    @given(domains(), requests())
    def test_a_rescue_definition_is_what_it_must_be(
        self, definition: str, request: plan.RescueRequest
    ) -> None:
        made = derive(definition, request)
        if made is None:
            return
        self.assertEqual(definition, made.original.to_xml())
        root = made.rescue.root
        [rescue] = root.findall(_RESCUE)
        self.assertEqual(
            (request.device, made.bus),
            (rescue.get("device"), rescue.find("target").get("bus")),
        )
        self._has_nothing_but_the_named_edits(made)
        self._boots_the_rescue_disk_alone(root, rescue)
        self._has_the_rescue_disk_last(made, root, rescue)
        self._has_nothing_twice(root)
        self._has_the_controller_that_it_needs(made, root, rescue)

    def _has_nothing_but_the_named_edits(self, made: plan.RescuePlan) -> None:
        found = compare(made.original, made.rescue)
        self.assertEqual((), found.disturbed, str(found))
        for change in found.changed:
            self.assertEqual([], [c for c in change.changed if not _BOOT.fullmatch(c)])
        self.assertEqual([], [p for p in found.rest if not _OUTSIDE.fullmatch(p)])
        kinds = Counter(device.kind for device in found.appeared)
        self.assertEqual(1, kinds.pop("disk"))
        self.assertLessEqual(kinds.keys(), {"controller"})
        self.assertLessEqual(kinds["controller"], 2)

    def _boots_the_rescue_disk_alone(
        self, root: etree._Element, rescue: etree._Element
    ) -> None:
        self.assertEqual([rescue.find("boot")], list(root.iter("boot")))
        self.assertEqual({"order": "1"}, dict(rescue.find("boot").attrib))

    def _has_the_rescue_disk_last(
        self, made: plan.RescuePlan, root: etree._Element, rescue: etree._Element
    ) -> None:
        if any("gap" in finding for finding in made.findings):
            return
        on_bus = [
            (place_of(disk, root), disk is rescue)
            for disk in root.findall("devices/disk")
            if disk.find("target").get("bus") == made.bus
        ]
        self.assertTrue(max(on_bus)[1], sorted(on_bus))
        name = rescue.find("target").get("dev")
        names = [t.get("dev") for t in root.findall("devices/disk/target")]
        alike = [other for other in names if other[:2] == name[:2]]
        self.assertEqual(name, max(alike, key=lambda other: (len(other), other)))

    def _has_nothing_twice(self, root: etree._Element) -> None:
        seen: Counter[tuple[str | None, ...]] = Counter()
        for device in root.find("devices"):
            target, address = device.find("target"), device.find("address")
            bus = target.get("bus") if target is not None else None
            if address is not None:
                keys = ("bus", "slot", "function", "port", "controller")
                where = [address.get(key) for key in (*keys, "target", "unit")]
                shared = "scsi" if device.tag == "hostdev" else bus
                kind = address.get("type")
                seen[kind, *((shared,) if kind == "drive" else ()), *where] += 1
            if device.tag == "disk":
                seen["target", target.get("dev")] += 1
            for alias in device.findall("alias"):
                seen["alias", alias.get("name")] += 1
            if device.tag == "controller" and "ich9-" not in device.get("model", ""):
                seen["controller", device.get("type"), device.get("index")] += 1
        self.assertEqual([], [what for what, times in seen.items() if times > 1])

    def _has_the_controller_that_it_needs(
        self, made: plan.RescuePlan, root: etree._Element, rescue: etree._Element
    ) -> None:
        """LIBVIRT F4: libvirt's implicit choice is never relied upon."""
        if made.bus == "virtio":
            return
        address = rescue.find("address")
        index = address.get("controller", address.get("bus"))
        [found] = root.findall(
            f"devices/controller[@type='{made.bus}'][@index='{index}']"
        )
        if made.bus == "scsi":
            self.assertIn("virtio", found.get("model"))
        if made.bus == "usb":
            self.assertEqual("qemu-xhci", found.get("model"))

    @_BOUNDED
    @given(domains(), requests())
    def test_twice_gives_the_same_bytes_and_a_rescue_is_no_input(
        self, definition: str, request: plan.RescueRequest
    ) -> None:
        made = derive(definition, request)
        again = derive(definition, request)
        self.assertIs(made is None, again is None)
        if made is not None:
            self.assertEqual(made.to_dict(), again.to_dict())
            refused = self.assertRaises(
                exception.Refused, plan.derive, made.rescue, request, samples.MEDIA
            )
            # UEFI takes no floppy, which is said before.
            self.assertIn("rescue definition", str(refused))

    @_BOUNDED
    @given(domains(), st.sampled_from(("virtio", "scsi", "usb", "sata", "ide", "fdc")))
    @example(samples.read("pc"), "virtio")
    def test_a_refused_disk_changed_nothing(self, definition: str, bus: str) -> None:
        own = Domain.parse(definition).copy()
        text = own.to_xml()
        try:
            edits.add_rescue_disk(own, samples.MEDIUM, "disk", bus)
        except exception.Refused:
            self.assertEqual(text, own.to_xml())
        else:
            self.assertNotEqual(text, own.to_xml())
