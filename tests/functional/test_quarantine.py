# SPDX-License-Identifier: Apache-2.0
"""A rescue with hw_rescue_network=quarantine, as users ask for it."""

from stable_rescue.domain.document import Domain
from tests.functional.server import ServerTestBase


class QuarantineTest(ServerTestBase):
    def make_server(self) -> None:
        port = {"port": self.neutron.port_1["id"]}
        wanted = self._build_server(networks=[port])
        self.server = self.boot(wanted)
        self.image = self.create_rescue_image(
            hw_rescue_bus="usb", hw_rescue_network="quarantine"
        )

    def allow(self) -> None:
        """Allow quarantines, as an operator does."""
        self.flags(allowed_networks="keep,quarantine", group="stable_rescue")

    def links(self, definition: Domain) -> list[str]:
        return [
            nic.xpath("string(link/@state)")
            for nic in definition.each_device("interface")
        ]

    def test_links_are_down_until_the_unrescue(self) -> None:
        self.allow()
        self.rescue_server()
        self.assertEqual(["down"], self.links(self.recorded_rescue()))
        self.unrescue_server()
        self.assert_restored()

    def test_operator_has_to_allow_it(self) -> None:
        self.assert_refused("hw_rescue_network=quarantine; the operator allows keep")

    def test_operator_may_have_forbidden_the_rest(self) -> None:
        self.flags(allowed_networks="quarantine", group="stable_rescue")
        image = self.create_rescue_image(hw_rescue_bus="usb", hw_rescue_network="keep")
        self.assert_refused("the operator allows quarantine", image=image)
        self.rescue_server(self.create_rescue_image(hw_rescue_bus="usb"))

    def test_stock_rescue_cannot_do_it(self) -> None:
        self.allow()
        image = self.create_rescue_image(hw_rescue_network="quarantine")
        self.assert_refused("asks for a stock rescue", image=image)

    def test_unknown_value_is_refused_with_the_list(self) -> None:
        image = self.create_rescue_image(hw_rescue_bus="usb", hw_rescue_network="off")
        self.assert_refused("allowed are keep, quarantine", image=image)
