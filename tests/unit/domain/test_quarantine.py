# SPDX-License-Identifier: Apache-2.0
"""A quarantine sets the link of every NIC down and moves nothing."""

import ddt
from lxml import etree
from oslotest import base

from stable_rescue import exception, plan
from stable_rescue.domain import invariants
from stable_rescue.domain.compare import compare
from stable_rescue.domain.document import Domain
from tests.unit.domain import samples

HOSTDEV = """<hostdev mode='subsystem' type='pci' managed='yes'>
  <source><address domain='0' bus='0x81' slot='0' function='1'/></source>
  <address type='pci' domain='0x0000' bus='0x00' slot='0x1d' function='0x0'/>
</hostdev>"""


def quarantined(original: Domain) -> plan.RescuePlan:
    request = plan.RescueRequest("disk", "usb", quarantine=True)
    return plan.derive(original, request, samples.MEDIA)


def links(domain: Domain) -> list[str | None]:
    """Return the state of the link of each NIC; None if it has none."""
    return [
        nic.xpath("string(link/@state)") or None
        for nic in domain.each_device("interface")
    ]


@ddt.ddt
class QuarantineTest(base.BaseTestCase):
    @ddt.data("pc", "q35")
    def test_every_link_is_down_and_nothing_moves(self, machine: str) -> None:
        original = samples.parsed(machine)
        derived = quarantined(original)
        self.assertEqual({"down"}, set(links(derived.rescue)))
        self.assertEqual(links(original), links(derived.original))
        self.assertEqual((), compare(original, derived.rescue).disturbed)
        edits = [edit for edit in derived.edits if edit.name == "link"]
        self.assertEqual(len(links(original)), len(edits))
        self.assertIn("fa:16:3e:", edits[0].what)

    def test_link_that_is_down_already_is_no_edit(self) -> None:
        original = samples.domain("pc")
        for nic in original.each_device("interface"):
            etree.SubElement(nic, "link", state="down")
        edits = quarantined(original).edits
        self.assertEqual([], [edit for edit in edits if edit.name == "link"])

    def test_link_that_is_up_is_set_down(self) -> None:
        original = samples.domain("pc")
        etree.SubElement(next(original.each_device("interface")), "link", state="up")
        self.assertEqual({"down"}, set(links(quarantined(original).rescue)))

    @ddt.data("hostdev", "vdpa")
    def test_nic_that_is_passed_through_is_refused(self, kind: str) -> None:
        original = samples.domain("pc")
        next(original.each_device("interface")).set("type", kind)
        error = self.assertRaises(exception.Refused, quarantined, original)
        self.assertIn("is passed through to the server", str(error))
        samples.derive(original, "disk", "usb")

    def test_other_device_that_is_passed_through_is_a_finding(self) -> None:
        original = samples.domain("pc")
        samples.add(original, HOSTDEV)
        (finding,) = quarantined(original).findings
        self.assertIn("0000:00:1d.0", finding)
        self.assertEqual((), samples.derive(original, "disk", "usb").findings)

    def test_link_of_one_nic_alone_breaks_an_invariant(self) -> None:
        original = samples.domain("pc")
        first = next(original.each_device("interface"))
        second = etree.fromstring(etree.tostring(first))
        second.find("mac").set("address", "fa:16:3e:00:00:77")
        second.find("address").set("slot", "0x1c")
        samples.add(original, etree.tostring(second, encoding="unicode"))
        rescue = quarantined(original).rescue.copy()
        nic = next(rescue.each_device("interface"))
        nic.remove(nic.find("link"))
        self.assertRaisesRegex(
            exception.InvariantBroken,
            "of others not",
            invariants.check,
            original,
            rescue,
        )
