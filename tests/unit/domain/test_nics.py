# SPDX-License-Identifier: Apache-2.0
"""NICs whose ports no longer exist are removed from a definition (U25)."""

from oslotest import base

from stable_rescue.domain import nics
from stable_rescue.domain.layout import differences, layout_of
from tests.unit.domain import samples

MACS = ("fa:16:3e:00:00:01", "fa:16:3e:00:00:02")


class WithoutGoneTest(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.original = samples.domain("q35")
        for nic in list(self.original.each_device("interface")):
            self.original.devices.remove(nic)
        for slot, mac in enumerate(MACS, 1):
            samples.add(
                self.original,
                f"<interface type='user'><mac address='{mac}'/>"
                f"<address {samples.pci(9, slot)}/></interface>",
            )

    def test_domain_with_all_ports_is_not_changed(self) -> None:
        changed, removed = nics.without_gone(
            self.original, [mac.upper() for mac in MACS]
        )
        self.assertIs(self.original, changed)
        self.assertEqual((), removed)

    def test_nic_without_port_is_removed_and_nothing_else(self) -> None:
        changed, removed = nics.without_gone(self.original, MACS[:1])
        self.assertEqual((MACS[1],), removed)
        self.assertNotIn(MACS[1], changed.to_xml())
        before, after = layout_of(self.original), layout_of(changed)
        self.assertEqual(1, len(differences(before, after)))
