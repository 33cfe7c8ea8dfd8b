# SPDX-License-Identifier: Apache-2.0
"""A server that is rescued, and what lets the rescue fail."""

from collections.abc import Callable
from typing import Any
from unittest import mock

import fixtures
from nova import exception as nova_exception
from nova import objects
from nova.compute import power_state
from nova.tests.functional.api import client
from nova.virt.libvirt import guest as libvirt_guest

from stable_rescue.domain import recognise
from stable_rescue.domain.document import Domain
from tests.functional import base

NO_MEMORY = nova_exception.NovaException("cannot allocate memory at /dev/x")


class FailureTestBase(base.RescueTestBase):
    def setUp(self) -> None:
        super().setUp()
        self.server = self.create_server()
        self.own = self.definition(self.server)
        self.image = self.create_rescue_image(hw_rescue_bus="usb")

    def rescued(self) -> None:
        self.rescue(self.server, self.image)
        self._wait_for_state_change(self.server, "RESCUE")

    def fail_launch(self, of_rescue: bool) -> None:
        """Let the start of the rescue's, or of the server's own definition fail."""
        launch = libvirt_guest.Guest.launch

        def fail(guest: libvirt_guest.Guest, pause: bool = False) -> Any:
            if recognise.is_rescue(Domain.parse(guest._encoded_xml)) is of_rescue:
                raise NO_MEMORY
            return launch(guest, pause)

        self.useFixture(
            fixtures.MonkeyPatch("nova.virt.libvirt.guest.Guest.launch", fail)
        )

    def failing(self, action: Callable[[], Any]) -> str:
        """Return the text of the error that the API's caller would read."""
        return self.assertRaises(client.OpenStackApiException, action).response.text

    def unrescue(self) -> None:
        self.api.post_server_action(self.server["id"], {"unrescue": None})

    def unrescue_leaving_the_medium(self) -> None:
        """Unrescue where the rescue disk cannot be removed; the server is ACTIVE."""
        with mock.patch(
            "stable_rescue.storage.medium.remove", side_effect=OSError(5, "I/O error")
        ):
            self.unrescue()
        self._wait_for_state_change(self.server, "ACTIVE")

    def instance(self) -> objects.Instance:
        return objects.Instance.get_by_uuid(self.context, self.server["id"])

    def assert_itself(self, status: str = "ACTIVE") -> None:
        self._wait_for_server_parameter(
            self.server, {"status": status, "OS-EXT-STS:task_state": None}
        )
        running = status == "ACTIVE"
        state = power_state.RUNNING if running else power_state.SHUTDOWN
        self.assertEqual(state, self.instance().power_state)
        self.assertEqual(self.own, self.definition(self.server))
        self.assertEqual([], self.files(self.server))
