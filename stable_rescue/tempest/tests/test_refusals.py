# SPDX-License-Identifier: Apache-2.0
"""Impossible rescues are refused, and the guest keeps running."""

from __future__ import annotations

from typing import Any

from tempest import config
from tempest.lib import decorators, exceptions
from tempest.lib.common.utils import data_utils

from stable_rescue.tempest.findings import finds
from stable_rescue.tempest.tests.base import BaseRescueTest, split_cases

CONF = config.CONF
#: In GiB, more than the root disk of any server.
TOO_LARGE = 1 << 20


class RefusalTest(BaseRescueTest):
    """After a refusal the server is ACTIVE and its guest has not been restarted."""

    with_hotplug = False

    def check_refused(self, image: str) -> None:
        """Fail unless a rescue with an image is refused and the guest keeps running."""
        server = self.active_server()
        boot_id = self.boot_id(server)
        response = self.servers_client.rescue_server(server, rescue_image_ref=image)
        self.assertEqual(
            "ACTIVE",
            self.wait_until_idle(server, response),
            f"status of server {server} after a rescue that should be refused",
        )
        self.assert_not_restarted(server, boot_id)
        self.assertIn(
            "Error", self.event_results(server, response), "no error for the user"
        )

    def assert_not_restarted(self, server: str, boot_id: str) -> None:
        """Fail if the guest has booted since it had a boot id."""
        self.assertEqual(
            boot_id,
            self.boot_id(server),
            f"the guest of server {server} was restarted by a rescue that was refused",
        )

    def event_results(self, server: str, response: Any) -> list[str]:
        """Return the results of a request's events, as the server's owner sees them."""
        action = self.servers_client.show_instance_action(
            server, response.response["x-openstack-request-id"]
        )["instanceAction"]
        return [event["result"] for event in action["events"]]

    def require_checks(self) -> None:
        """Skip the test if the driver checks nothing before power-off."""
        if not CONF.stable_rescue.plan_and_rollback:
            raise self.skipException("[stable_rescue] plan_and_rollback is not set")

    @decorators.idempotent_id("740de65f-f1b3-441c-b9b2-7dc35381da74")
    @decorators.attr(type="negative")
    @finds("U7", "U10")
    def test_unsupported_bus_is_refused(self) -> None:
        """Each of impossible_cases is refused."""
        self.require_checks()
        if not CONF.stable_rescue.impossible_cases:
            raise self.skipException("[stable_rescue] impossible_cases is empty")
        for device, bus in split_cases(CONF.stable_rescue.impossible_cases):
            self.check_refused(self.rescue_image(device, bus))

    @decorators.idempotent_id("b0d12ef4-bad0-40b1-b878-895b3f44e7f2")
    @decorators.attr(type="negative")
    @finds("U7", "U12")
    def test_queued_image_is_refused(self) -> None:
        """An image without content is refused."""
        self.require_checks()
        device, bus = self.first_case()
        self.check_refused(
            self.create_empty_image("raw", hw_rescue_device=device, hw_rescue_bus=bus)
        )

    @decorators.idempotent_id("316dcbb1-f4bf-426f-bdd0-8875e24bb9a3")
    @decorators.attr(type="negative")
    @finds("U7", "U12")
    def test_image_with_too_large_min_disk_is_refused(self) -> None:
        """An image whose min_disk is larger than the server's root disk is refused."""
        self.require_checks()
        device, bus = self.first_case()
        self.check_refused(self.rescue_image(device, bus, min_disk=TOO_LARGE))

    @decorators.idempotent_id("1a16e4d5-0d96-474a-ac4e-35f56d997b69")
    @decorators.attr(type="negative")
    def test_missing_image_is_bad_request(self) -> None:
        """The API service rejects the id of an image that does not exist: 400."""
        server = self.active_server()
        boot_id = self.boot_id(server)
        self.assertRaises(
            exceptions.BadRequest,
            self.servers_client.rescue_server,
            server,
            rescue_image_ref=data_utils.rand_uuid(),
        )
        self.assertEqual("ACTIVE", self.status(server))
        self.assert_not_restarted(server, boot_id)

    @decorators.idempotent_id("cd60ff0e-c892-419c-9880-6a45e247f5d2")
    @finds("U7", "U10")
    def test_rescue_after_refusal_succeeds(self) -> None:
        """A refused rescue does not affect the next one."""
        self.require_checks()
        for device, bus in split_cases(CONF.stable_rescue.impossible_cases[:1]):
            self.check_refused(self.rescue_image(device, bus))
        device, bus = self.first_case()
        server = self.active_server()
        self.rescue(server, self.rescue_image(device, bus))
        self.unrescue(server)
