# SPDX-License-Identifier: Apache-2.0
"""The driver under Nova's own manager, which powers off first and then asks it.

Nova calls a server ERROR whose rescue has failed; its guest is whole nevertheless.
"""

from unittest import mock

import fixtures
from nova import service
from nova.compute import manager
from nova.virt.libvirt import guest as libvirt_guest

from stable_rescue.domain import recognise
from stable_rescue.domain.document import Domain
from stable_rescue.virt.driver import StableRescueDriver
from tests.functional.server import ServerTestBase

NOVAS = f"{manager.ComputeManager.__module__}.{manager.ComputeManager.__qualname__}"


class DriverAloneTest(ServerTestBase):
    def setUp(self) -> None:
        super().setUp()
        self.assertIs(manager.ComputeManager, type(self.manager))
        self.assertIsInstance(self.driver, StableRescueDriver)

    def _setup_compute_service(self) -> None:
        super()._setup_compute_service()
        # As where a deployment has a manager of its own.
        service.SERVICE_MANAGERS["nova-compute"] = NOVAS

    def fail_to_rescue(self, bus: str) -> str:
        """Return why the server could not be rescued."""
        image = self.create_rescue_image(hw_rescue_bus=bus)
        text = self.error_of(self.rescue, self.server, image)
        self._wait_for_state_change(self.server, "ERROR")
        return text

    def test_rescue_and_unrescue(self) -> None:
        self.rescue_server()
        self.assert_rescued()
        self.unrescue_server()
        self.assert_original()

    def test_a_stopped_guest_comes_back_stopped(self) -> None:
        """UPSTREAM U18; Nova's manager calls it ACTIVE and would start it again."""
        self._stop_server(self.server)
        self.rescue_server()
        self.unrescue_server()
        self.assert_original(running=False)

    def test_a_refusal_starts_the_guest_again(self) -> None:
        self.assertIn("fdc", self.fail_to_rescue("fdc"))
        self.assert_original()

    def test_a_rescue_that_does_not_start_is_undone(self) -> None:
        launch = libvirt_guest.Guest.launch

        def fail(guest: libvirt_guest.Guest, pause: bool = False) -> object:
            if recognise.is_rescue(Domain.parse(guest._encoded_xml)):
                raise OSError(12, "Cannot allocate memory")
            return launch(guest, pause)

        with fixtures.MonkeyPatch("nova.virt.libvirt.guest.Guest.launch", fail):
            self.fail_to_rescue("usb")
        self.assert_original()

    def test_what_a_killed_rescue_left_is_undone_by_the_next(self) -> None:
        with (
            mock.patch("stable_rescue.virt.transitions.undo", side_effect=OSError(5)),
            mock.patch("stable_rescue.virt.transitions._start", side_effect=OSError(5)),
        ):
            self.fail_to_rescue("usb")
        self.assertFalse(self.domain().isActive())
        self.rescue_server()
        self.unrescue_server()
        self.assert_original()
