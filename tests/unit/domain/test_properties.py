# SPDX-License-Identifier: Apache-2.0
"""Properties that hold for every domain and every rescue of it (E1 to E6).

The checks are independent of the code under test: ``domain.compare`` shares no code
with it, and the guest's enumeration is computed here again. Set HYPOTHESIS_EXPLORE to a
number of examples to check other domains than the last time.
"""

import dataclasses
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
from stable_rescue.domain.overlays import Overlays
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
# The differences that E1 and E6 make; E6 also removes the firmware selection.
_OUTSIDE = re.compile(
    r"os/(boot(\[\d\])?(@dev)?|kernel|initrd|cmdline|nvram(@template)?)|os@firmware"
)
_MEDIA = plan.RescueMedia(samples.MEDIUM, overlays=Overlays("/instance"))
_PCI = ("domain", "bus", "slot", "function")


def derive(definition: str, request: plan.RescueRequest) -> plan.RescuePlan | None:
    """Return the plan, or None if it is refused with a reason."""
    try:
        return plan.derive(Domain.parse(definition), request, _MEDIA)
    except exception.Refused as refused:
        assert str(refused)
        return None


def seen_by_the_guest(root: etree._Element) -> dict[tuple[int, ...], int]:
    """Return the position of each PCI function in the kernel's enumeration (F31).

    The functions of a bus come first, then those behind each of its bridges.
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
    order: list[tuple[int, ...]] = []

    def scan(bus: int) -> None:
        functions = sorted(on_bus.get(bus, ()))
        order.extend(functions)
        for place in functions:
            if place in behind:
                scan(behind[place])

    scan(0)
    return {place: rank for rank, place in enumerate(order)}


def place_of(device: etree._Element, root: etree._Element) -> tuple[int, ...]:
    """Return a sort key for the disks of one bus, in the order of the guest."""
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
    first = controllers[0].find("address") if controllers else None
    # A floppy controller has no address, and the migratable form omits controllers.
    rank = -1 if first is None else ranks[tuple(int(first.get(k), 16) for k in _PCI)]
    keys = ("port",) if usb else ("bus", "target", "unit")
    return (rank, *(int(address.get(key)) for key in keys))


class PropertiesTest(base.BaseTestCase):
    @_BOUNDED
    @given(domains(), requests())
    def test_rescue_definition_has_all_properties(
        self, definition: str, request: plan.RescueRequest
    ) -> None:
        derived = derive(definition, request)
        if derived is None:
            return
        self.assertEqual(definition, derived.original.to_xml())
        root = derived.rescue.root
        [rescue] = root.findall(_RESCUE)
        self.assertEqual(
            (request.device, derived.bus),
            (rescue.get("device"), rescue.find("target").get("bus")),
        )
        self._check_edits(derived)
        self._check_boot_order(root, rescue)
        self._check_rescue_disk_is_last(derived, root, rescue)
        self._check_unique(root)
        self._check_controller(derived, root, rescue)

    def _check_edits(self, derived: plan.RescuePlan) -> None:
        comparison = compare(derived.original, derived.rescue)
        self.assertEqual((), comparison.disturbed, str(comparison))
        for change in comparison.changed:
            self.assertEqual([], [c for c in change.changed if not _BOOT.fullmatch(c)])
        self.assertEqual([], [p for p in comparison.rest if not _OUTSIDE.fullmatch(p)])
        kinds = Counter(device.kind for device in comparison.appeared)
        self.assertEqual(1, kinds.pop("disk"))
        self.assertLessEqual(kinds.keys(), {"controller"})
        self.assertLessEqual(kinds["controller"], 2)

    def _check_boot_order(self, root: etree._Element, rescue: etree._Element) -> None:
        self.assertEqual([rescue.find("boot")], list(root.iter("boot")))
        self.assertEqual({"order": "1"}, dict(rescue.find("boot").attrib))

    def _check_rescue_disk_is_last(
        self, derived: plan.RescuePlan, root: etree._Element, rescue: etree._Element
    ) -> None:
        if any("gap" in finding for finding in derived.findings):
            return
        on_bus = [
            (place_of(disk, root), disk is rescue)
            for disk in root.findall("devices/disk")
            if disk.find("target").get("bus") == derived.bus
        ]
        self.assertTrue(max(on_bus)[1], sorted(on_bus))
        name = rescue.find("target").get("dev")
        names = [t.get("dev") for t in root.findall("devices/disk/target")]
        alike = [other for other in names if other[:2] == name[:2]]
        self.assertEqual(name, max(alike, key=lambda other: (len(other), other)))

    def _check_unique(self, root: etree._Element) -> None:
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

    def _check_controller(
        self, derived: plan.RescuePlan, root: etree._Element, rescue: etree._Element
    ) -> None:
        """F4: libvirt's implicit controllers are not used."""
        if derived.bus == "virtio":
            return
        address = rescue.find("address")
        index = address.get("controller", address.get("bus"))
        [controller] = root.findall(
            f"devices/controller[@type='{derived.bus}'][@index='{index}']"
        )
        if derived.bus == "scsi":
            self.assertIn("virtio", controller.get("model"))
        if derived.bus == "usb":
            self.assertEqual("qemu-xhci", controller.get("model"))

    @_BOUNDED
    @given(domains(), requests())
    def test_overlays_leave_no_disk_to_write_and_move_nothing(
        self, definition: str, request: plan.RescueRequest
    ) -> None:
        # A server with shares is refused, as one with SCSI devices of the host.
        original = Domain.parse(definition).copy()
        for share in list(original.each_device("filesystem")):
            original.devices.remove(share)
        discarding = dataclasses.replace(request, discard=True)
        derived = derive(original.to_xml(), discarding)
        plain = derive(original.to_xml(), request)
        scsi = original.root.find("devices/hostdev[@type='scsi']")
        self.assertIs(derived is None, plain is None or scsi is not None)
        if derived is None:
            return
        comparison = compare(derived.original, derived.rescue)
        self.assertEqual((), comparison.disturbed, str(comparison))
        for disk in derived.rescue.root.findall("devices/disk"):
            if disk.get("device") == "disk" and disk.find("readonly") is None:
                self.assertRegex(disk.find("source").get("file", ""), r"\.rescue$")

    @_BOUNDED
    @given(domains(), requests())
    def test_plan_is_repeatable_and_its_result_is_refused(
        self, definition: str, request: plan.RescueRequest
    ) -> None:
        derived = derive(definition, request)
        again = derive(definition, request)
        self.assertIs(derived is None, again is None)
        if derived is not None:
            self.assertEqual(derived.to_dict(), again.to_dict())
            refused = self.assertRaises(
                exception.Refused, plan.derive, derived.rescue, request, samples.MEDIA
            )
            self.assertIn("rescue definition", str(refused))

    @_BOUNDED
    @given(domains(), st.sampled_from(("virtio", "scsi", "usb", "sata", "ide", "fdc")))
    @example(samples.read("pc"), "virtio")
    def test_disk_that_is_refused_changes_nothing(
        self, definition: str, bus: str
    ) -> None:
        draft = Domain.parse(definition).copy()
        text = draft.to_xml()
        try:
            edits.add_rescue_disk(draft, samples.MEDIUM, "disk", bus)
        except exception.Refused:
            self.assertEqual(text, draft.to_xml())
        else:
            self.assertNotEqual(text, draft.to_xml())
