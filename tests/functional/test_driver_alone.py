# SPDX-License-Identifier: Apache-2.0
"""StableRescueDriver under Nova's manager, which powers off before it calls the driver.

If a rescue fails, Nova's manager sets the server to ERROR, but its guest is restored.
"""

from nova import service
from nova.compute import manager

from stable_rescue.virt.driver import StableRescueDriver
from tests.functional.failures import FailureTestBase

NOVA_MANAGER = (
    f"{manager.ComputeManager.__module__}.{manager.ComputeManager.__qualname__}"
)


class DriverAloneTest(FailureTestBase):
    def setUp(self) -> None:
        super().setUp()
        self.assertIs(manager.ComputeManager, type(self.manager))
        self.assertIsInstance(self.driver, StableRescueDriver)

    def _setup_compute_service(self) -> None:
        super()._setup_compute_service()
        # As in a deployment whose manager is not the one of stable rescue.
        service.SERVICE_MANAGERS["nova-compute"] = NOVA_MANAGER

    def fail_to_rescue(self, bus: str) -> str:
        """Request a rescue that fails; return the error that the user reads."""
        image = self.create_rescue_image(hw_rescue_bus=bus)
        text = self.error_of(self.rescue, self.server, image)
        self._wait_for_state_change(self.server, "ERROR")
        return text

    def test_rescue_and_unrescue_work_under_novas_manager(self) -> None:
        self.assertRegex(self.stdlog.logger.output, "stable_rescue .* with Nova .*")
        self.rescue_server()
        self.assert_rescued()
        self.unrescue_server()
        self.assert_original()

    def test_stopped_guest_stays_stopped_under_novas_manager(self) -> None:
        """U18; Nova's manager sets the server to ACTIVE."""
        self._stop_server(self.server)
        self.rescue_server()
        self.unrescue_server()
        self.assert_original(running=False)

    def test_refused_rescue_starts_the_guest_again(self) -> None:
        self.assertIn("fdc", self.fail_to_rescue("fdc"))
        self.assert_original()

    def test_failed_start_is_rolled_back_under_novas_manager(self) -> None:
        self.fail_launch(of_rescue=True)
        self.fail_to_rescue("usb")
        self.assert_original()

    def interrupt_rescue(self) -> None:
        """Have a rescue fail and its rollback, too."""
        with self.nothing_starts_or_is_rolled_back():
            self.fail_to_rescue("usb")
        self.assertFalse(self.domain().isActive())

    def test_next_rescue_rolls_back_an_interrupted_one(self) -> None:
        self.interrupt_rescue()
        self.rescue_server()
        self.unrescue_server()
        self.assert_original()

    def test_stock_rescue_rolls_back_an_interrupted_one(self) -> None:
        self.interrupt_rescue()
        self.rescue_server(self.create_rescue_image())
        self.unrescue_server()
        self.assert_original()
