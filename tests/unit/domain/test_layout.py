# SPDX-License-Identifier: Apache-2.0
"""The live and the inactive definition of one domain (F1)."""

from lxml import etree
from oslotest import base

from stable_rescue.domain import live
from stable_rescue.domain.layout import differences, layout_of
from tests.unit.domain import samples


class LayoutTest(base.BaseTestCase):
    def test_live_and_inactive_form_of_one_domain_are_equal(self) -> None:
        first = layout_of(samples.domain("pc"))
        second = layout_of(samples.domain("pc-migratable"))
        self.assertEqual([], differences(first, second))

    def test_watchdog_of_the_chipset_is_in_one_form_alone(self) -> None:
        """libvirt 11.3 leaves it out of the migratable form."""
        inactive = samples.domain("q35").copy()
        inactive.append_device(etree.fromstring("<watchdog model='itco'/>"))
        added = inactive.copy()
        added.append_device(etree.fromstring("<watchdog model='ib700'/>"))
        running = layout_of(samples.domain("q35"))
        self.assertEqual([], differences(running, layout_of(inactive)))
        self.assertEqual(
            [("watchdog", "", "", "ib700", "", "1")],
            differences(running, layout_of(added)),
        )

    def test_disk_with_another_address_differs(self) -> None:
        """Live and inactive form can differ after an unplug."""
        moved = samples.domain("pc")
        samples.remove_disk(moved, "vdb")
        samples.add_disk(moved, "vdb", "virtio", samples.pci(0, 9))
        self.assertEqual(
            [("disk", "vdb", "virtio", "1")],
            differences(layout_of(samples.domain("pc")), layout_of(moved)),
        )

    def test_disk_with_another_source_differs(self) -> None:
        other = samples.domain("pc")
        next(other.disks()).find("source").set("file", "/other")
        self.assertEqual(
            [("disk", "vda", "virtio", "1")],
            differences(layout_of(samples.domain("pc")), layout_of(other)),
        )

    def test_persistent_form_has_nothing_detected_at_run_time(self) -> None:
        running = samples.parsed("pc-migratable")
        persistent = live.persistent_form(running)
        self.assertEqual([], persistent.root.findall(".//backingStore"))
        self.assertIsNone(persistent.root.find("resource"))
        self.assertEqual(layout_of(running), layout_of(persistent))
