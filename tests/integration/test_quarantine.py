# SPDX-License-Identifier: Apache-2.0
"""In a quarantine, a booted guest sees its NICs in place and without carrier (F36)."""

from stable_rescue import plan
from stable_rescue.domain.document import Domain
from stable_rescue.tempest.guest import compare
from stable_rescue.tempest.guest.inventory import Inventory
from tests.integration import base


def carriers(seen: Inventory) -> list[str]:
    """Return the carrier of each NIC as the guest reads it: 1 or 0."""
    return [nic.carrier for nic in seen.of_kind("nic")]


class QuarantineTest(base.TestCase):
    def test_nics_stay_without_carrier_until_the_unrescue(self) -> None:
        server = self.new_server("q35")
        server.attach(server.scene.nic_xml(2))
        baseline = server.boot()
        self.assertEqual(["1", "1"], carriers(baseline))
        original_xml = server.definition()
        request = plan.RescueRequest("disk", "usb", quarantine=True)
        media = plan.RescueMedia(base.rescue_medium(self.addCleanup, "disk"))
        derived = plan.derive(Domain.parse(original_xml), request, media)
        server.define(derived.rescue.to_xml())
        rescued = server.boot()
        self.assert_rescue_booted(rescued, "disk")
        self.assertEqual((), compare(baseline, rescued).disturbed)
        self.assertEqual(["0", "0"], carriers(rescued))
        server.define(original_xml)
        self.assertEqual(["1", "1"], carriers(server.boot()))
