# SPDX-License-Identifier: Apache-2.0
"""What cannot be is refused, and the guest never notices."""

from __future__ import annotations

from typing import Any

from tempest import config
from tempest.lib import decorators, exceptions
from tempest.lib.common.utils import data_utils

from stable_rescue.tempest.findings import finds
from stable_rescue.tempest.tests.base import BaseRescueTest

CONF = config.CONF
#: More than any server's root has, in GiB and MiB.
TOO_MUCH = 1 << 20


class RefusalTest(BaseRescueTest):
    """The server is ACTIVE afterwards, and its guest has not been restarted."""

    with_history = False

    def check(self, image: str) -> None:
        """Try to rescue with an image; fail unless that is refused."""
        server = self.server()
        before = self.boot_id(server)
        answer = self.servers_client.rescue_server(server, rescue_image_ref=image)
        self.assertEqual("ACTIVE", self.settled(server, answer))
        self.assertEqual(before, self.boot_id(server), "the guest was restarted")
        self.assertIn("Error", self.results(server, answer))

    def results(self, server: str, answer: Any) -> list[str]:
        """Return how the steps of a request ended, as its owner sees them."""
        action = self.servers_client.show_instance_action(
            server, answer.response["x-openstack-request-id"]
        )["instanceAction"]
        return [event["result"] for event in action["events"]]

    def need_plan(self) -> None:
        """Skip the test where the driver decides nothing before power-off."""
        if not CONF.stable_rescue.plan_and_rollback:
            raise self.skipException("[stable_rescue] plan_and_rollback is not set")

    @decorators.idempotent_id("740de65f-f1b3-441c-b9b2-7dc35381da74")
    @decorators.attr(type="negative")
    @finds("U7", "U10")
    def test_impossible_bus(self) -> None:
        """What the machine type cannot carry is refused, each case of it."""
        self.need_plan()
        if not CONF.stable_rescue.impossible_cases:
            raise self.skipException("[stable_rescue] impossible_cases is empty")
        for case in CONF.stable_rescue.impossible_cases:
            device, _, bus = case.partition("/")
            self.check(self.image_for(device, bus))

    @decorators.idempotent_id("b0d12ef4-bad0-40b1-b878-895b3f44e7f2")
    @decorators.attr(type="negative")
    @finds("U7", "U12")
    def test_queued_image(self) -> None:
        """An image that has no content yet is refused."""
        self.need_plan()
        device, _, bus = CONF.stable_rescue.cases[0].partition("/")
        self.check(self.empty_image("raw", hw_rescue_device=device, hw_rescue_bus=bus))

    @decorators.idempotent_id("316dcbb1-f4bf-426f-bdd0-8875e24bb9a3")
    @decorators.attr(type="negative")
    @finds("U7", "U12")
    def test_min_disk(self) -> None:
        """An image that wants a larger disk than the server's is refused."""
        self.need_plan()
        device, _, bus = CONF.stable_rescue.cases[0].partition("/")
        self.check(
            self.rescue_image(
                hw_rescue_device=device, hw_rescue_bus=bus, min_disk=TOO_MUCH
            )
        )

    @decorators.idempotent_id("1a16e4d5-0d96-474a-ac4e-35f56d997b69")
    @decorators.attr(type="negative")
    def test_missing_image(self) -> None:
        """The API itself refuses an image that there is not."""
        server = self.server()
        before = self.boot_id(server)
        self.assertRaises(
            exceptions.BadRequest,
            self.servers_client.rescue_server,
            server,
            rescue_image_ref=data_utils.rand_uuid(),
        )
        self.assertEqual("ACTIVE", self.status(server))
        self.assertEqual(before, self.boot_id(server), "the guest was restarted")

    @decorators.idempotent_id("cd60ff0e-c892-419c-9880-6a45e247f5d2")
    @finds("U7", "U10")
    def test_rescue_after_a_refusal(self) -> None:
        """A server whose rescue was refused is rescued as any other."""
        self.need_plan()
        for case in CONF.stable_rescue.impossible_cases[:1]:
            device, _, bus = case.partition("/")
            self.check(self.image_for(device, bus))
        device, _, bus = CONF.stable_rescue.cases[0].partition("/")
        server = self.server()
        self.rescue(server, self.image_for(device, bus))
        self.unrescue(server)
