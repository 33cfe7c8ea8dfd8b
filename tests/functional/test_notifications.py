# SPDX-License-Identifier: Apache-2.0
"""What others are told of a rescue is what Nova's own manager and driver tell."""

from typing import Any

from nova.tests.functional.api import client

from tests.functional import base

TOLD = [
    "instance.rescue.start",
    "instance.exists",
    "instance.rescue.end",
    "instance.unrescue.start",
    "instance.unrescue.end",
]
TOLD_IN_OLD_FORM = [
    "compute.instance.rescue.start",
    "compute.instance.exists",
    "compute.instance.rescue.end",
    "compute.instance.unrescue.start",
    "compute.instance.unrescue.end",
]


class Notifications:
    """The same test, for Nova's driver and manager and for ours."""

    def told(self) -> tuple[list[str], list[str]]:
        """Return what was told, but for each change of a state."""
        versioned = [n["event_type"] for n in self.notifier.versioned_notifications]
        old = [n.event_type for n in self.notifier.notifications]
        wanted = ("rescue.", "exists", "exception", "error")
        return tuple(
            [name for name in names if any(part in name for part in wanted)]
            for names in (versioned, old)
        )

    def test_rescue_and_unrescue(self) -> None:
        server: dict[str, Any] = self.create_server()
        image = self.create_rescue_image(hw_rescue_bus="usb")
        self.notifier.reset()
        self.rescue(server, image)
        self._wait_for_state_change(server, "RESCUE")
        self.api.post_server_action(server["id"], {"unrescue": None})
        self._wait_for_state_change(server, "ACTIVE")
        self.assertEqual((TOLD, TOLD_IN_OLD_FORM), self.told())


class OursTest(Notifications, base.RescueTestBase):
    def test_a_refusal(self) -> None:
        """Nothing of a rescue, as none has begun; the error as Nova tells it."""
        server = self.create_server()
        image = self.create_rescue_image(
            hw_rescue_device="cdrom", hw_rescue_bus="virtio"
        )
        self.notifier.reset()
        self.assertRaises(client.OpenStackApiException, self.rescue, server, image)
        self.assertEqual((["compute.exception"], []), self.told())


class NovasTest(Notifications, base.RescueTestBase):
    compute_driver = "libvirt.LibvirtDriver"
