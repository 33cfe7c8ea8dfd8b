# SPDX-License-Identifier: Apache-2.0
"""A rescue sends the same notifications as a stock rescue does."""

from typing import Any

from nova.tests.functional.api import client

from tests.functional import base

VERSIONED = [
    "instance.rescue.start",
    "instance.exists",
    "instance.rescue.end",
    "instance.unrescue.start",
    "instance.unrescue.end",
]
UNVERSIONED = [f"compute.{event_type}" for event_type in VERSIONED]


class Notifications:
    """A test that runs with Nova's driver and manager, and with stable rescue's."""

    def notifications(self) -> tuple[list[str], list[str]]:
        """Return the types of all notifications, versioned and unversioned.

        Notifications of state changes are left out.
        """
        versioned = [n["event_type"] for n in self.notifier.versioned_notifications]
        unversioned = [n.event_type for n in self.notifier.notifications]
        kinds = ("rescue.", "exists", "exception", "error")
        return tuple(
            [name for name in names if any(kind in name for kind in kinds)]
            for names in (versioned, unversioned)
        )

    def test_rescue_and_unrescue_send_the_stock_notifications(self) -> None:
        server: dict[str, Any] = self.create_server()
        image = self.create_rescue_image(hw_rescue_bus="usb")
        self.notifier.reset()
        self.rescue(server, image)
        self._wait_for_state_change(server, "RESCUE")
        self.api.post_server_action(server["id"], {"unrescue": None})
        self._wait_for_state_change(server, "ACTIVE")
        self.assertEqual((VERSIONED, UNVERSIONED), self.notifications())


class StableRescueTest(Notifications, base.RescueTestBase):
    def test_refused_rescue_sends_the_exception_only(self) -> None:
        server = self.create_server()
        image = self.create_rescue_image(
            hw_rescue_device="cdrom", hw_rescue_bus="virtio"
        )
        self.notifier.reset()
        self.assertRaises(client.OpenStackApiException, self.rescue, server, image)
        self.assertEqual((["compute.exception"], []), self.notifications())


class StockRescueTest(Notifications, base.RescueTestBase):
    compute_driver = "libvirt.LibvirtDriver"
