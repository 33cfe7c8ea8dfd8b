# SPDX-License-Identifier: Apache-2.0

from oslotest import base

from stable_rescue.domain import nics
from stable_rescue.domain.layout import differences, layout_of
from tests.unit.domain import samples

MACS = ("fa:16:3e:00:00:01", "fa:16:3e:00:00:02")


class WithoutGoneTest(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        domain = samples.domain("q35")
        for nic in list(domain.each_device("interface")):
            domain.devices.remove(nic)
        for slot, mac in enumerate(MACS, 1):
            samples.add(
                domain,
                f"<interface type='user'><mac address='{mac}'/>"
                f"<address {samples.pci(9, slot)}/></interface>",
            )
        self.own = domain

    def test_with_all_ports_not_a_byte_changes(self) -> None:
        found = nics.without_gone(self.own, [mac.upper() for mac in MACS])
        self.assertEqual((self.own, ()), found)

    def test_one_that_is_gone_leaves_and_nothing_else_moves(self) -> None:
        changed, gone = nics.without_gone(self.own, MACS[:1])
        self.assertEqual((MACS[1],), gone)
        self.assertNotIn(MACS[1], changed.to_xml())
        before, after = layout_of(self.own), layout_of(changed)
        self.assertEqual(1, len(differences(before, after)))
