# SPDX-License-Identifier: Apache-2.0
"""A rescue sends the same notifications as a stock rescue does."""

from typing import Any

from nova.tests.functional.api import client

from tests.functional import base
from tests.functional.failures import FailureTestBase

VERSIONED = [
    "instance.rescue.start",
    "instance.exists",
    "instance.rescue.end",
    "instance.unrescue.start",
    "instance.unrescue.end",
]
UNVERSIONED = [f"compute.{event_type}" for event_type in VERSIONED]


class Notified:
    """What the notifier of a test has."""

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

    def payloads(self, event_type: str) -> list[dict[str, Any]]:
        """Return the data of the versioned notifications of one type."""
        return [
            each["payload"]["nova_object.data"]
            for each in self.notifier.versioned_notifications
            if each["event_type"] == event_type
        ]


class Notifications(Notified):
    """A test that runs with Nova's driver and manager, and with stable rescue's."""

    def test_rescue_and_unrescue_send_the_stock_notifications(self) -> None:
        server: dict[str, Any] = self.create_server()
        image = self.create_rescue_image(hw_rescue_bus="usb")
        self.notifier.reset()
        self.rescue(server, image)
        self._wait_for_state_change(server, "RESCUE")
        self.api.post_server_action(server["id"], {"unrescue": None})
        self._wait_for_state_change(server, "ACTIVE")
        self.assertEqual((VERSIONED, UNVERSIONED), self.notifications())
        (start,), (end,) = map(
            self.payloads, ("instance.rescue.start", "instance.rescue.end")
        )
        for payload, state in ((start, "active"), (end, "rescued")):
            self.assertEqual(
                (server["id"], image, state, None),
                tuple(
                    payload[key]
                    for key in ("uuid", "rescue_image_ref", "state", "fault")
                ),
            )
        self.assertEqual(start["request_id"], end["request_id"])


class StableRescueTest(Notifications, base.RescueTestBase):
    def test_refused_rescue_sends_the_exception_only(self) -> None:
        server = self.create_server()
        image = self.create_rescue_image(
            hw_rescue_device="cdrom", hw_rescue_bus="virtio"
        )
        self.notifier.reset()
        self.assertRaises(client.OpenStackApiException, self.rescue, server, image)
        self.assertEqual((["compute.exception"], []), self.notifications())


class FailedRescueTest(Notified, FailureTestBase):
    def test_failed_rescue_has_no_end_but_a_change_of_state(self) -> None:
        self.flags(group="notifications", notify_on_state_change="vm_and_task_state")
        self.fail_launch(of_rescue=True)
        self.notifier.reset()
        self.error_of(self.rescue, self.server, self.image)
        self.assert_restored()
        self.assertEqual(
            (
                ["instance.rescue.start", "compute.exception"],
                ["compute.instance.rescue.start"],
            ),
            self.notifications(),
        )
        (failure,) = self.payloads("compute.exception")
        self.assertIn("could not be started", failure["exception_message"])
        update = self.payloads("instance.update")[-1]
        self.assertEqual(self.server["id"], update["uuid"])
        change = update["state_update"]["nova_object.data"]
        self.assertEqual(
            ("rescuing", None, "active"),
            tuple(change[key] for key in ("old_task_state", "new_task_state", "state")),
        )


class StockRescueTest(Notifications, base.RescueTestBase):
    compute_driver = "libvirt.LibvirtDriver"
