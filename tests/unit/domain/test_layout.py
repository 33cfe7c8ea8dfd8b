# SPDX-License-Identifier: Apache-2.0

from oslotest import base

from stable_rescue.domain import live
from stable_rescue.domain.layout import differences, layout_of
from tests.unit.domain import samples


class LayoutTest(base.BaseTestCase):
    def test_live_and_inactive_form_of_one_domain_agree(self) -> None:
        first = layout_of(samples.domain("pc"))
        second = layout_of(samples.domain("pc-migratable"))
        self.assertEqual([], differences(first, second))

    def test_a_disk_elsewhere_is_told(self) -> None:
        """LIBVIRT F1: the two can differ after an unplug."""
        moved = samples.domain("pc")
        samples.remove_disk(moved, "vdb")
        samples.add_disk(moved, "vdb", "virtio", samples.pci(0, 9))
        self.assertEqual(
            [("disk", "vdb", "virtio", "1")],
            differences(layout_of(samples.domain("pc")), layout_of(moved)),
        )

    def test_a_disk_with_another_source_is_told(self) -> None:
        other = samples.domain("pc")
        next(other.disks()).find("source").set("file", "/other")
        self.assertEqual(
            [("disk", "vda", "virtio", "1")],
            differences(layout_of(samples.domain("pc")), layout_of(other)),
        )

    def test_settled_without_what_the_run_brought(self) -> None:
        settled = live.persistent_form(samples.parsed("pc-migratable"))
        self.assertEqual([], settled.root.findall(".//backingStore"))
        self.assertIsNone(settled.root.find("resource"))
        self.assertEqual(layout_of(samples.domain("pc-migratable")), layout_of(settled))
