# SPDX-License-Identifier: Apache-2.0
"""A server's devices or disks change between the plan of a rescue and power-off."""

from collections.abc import Callable

from stable_rescue import steps
from stable_rescue.storage.record import State
from tests.functional.failures import FailureTestBase

MAC = "52:54:00:00:00:01"
NIC = f"<interface type='bridge'><mac address='{MAC}'/><source bridge='b'/></interface>"
SNAPSHOT = "/nonexistent/snapshot"


class ChangedMeanwhileTest(FailureTestBase):
    def call_at(
        self, is_reached: Callable[[str], bool], call: Callable[[], None]
    ) -> None:
        """Call a function once, at the first point at which a condition is true."""
        observe = steps.observe
        self.addCleanup(setattr, steps, "observe", observe)

        def observe_or_call(point: str) -> None:
            if is_reached(point):
                steps.observe = observe
                call()

        steps.observe = observe_or_call

    def is_prepared(self, _point: str) -> bool:
        record = self.record()
        return record is not None and record.state is State.PREPARED

    def attach(self) -> None:
        """Attach a NIC to the guest and to its definition."""
        domain = self.domain()
        domain.attachDevice(NIC)
        domain._next = domain._def

    def snapshot(self) -> None:
        """Move the guest to a new file, as a snapshot of Cinder does."""
        for definition in (self.domain()._def, getattr(self.domain(), "_next", {})):
            for disk in definition.get("devices", {}).get("disks", ())[:1]:
                disk["source"] = SNAPSHOT

    def assert_refused_unharmed(self) -> None:
        """Assert that a rescue is refused, and that the guest keeps running."""
        power_off = self.power_offs()
        text = self.error_of(self.rescue, self.server, self.image)
        self.assertIn("changed while its rescue was being prepared", text)
        power_off.assert_not_called()
        self.assert_status("ACTIVE")
        self.assertEqual([], self.files(self.server))

    def assert_nic_is_kept(self) -> None:
        for definition in (self.live_definition(), self.next_definition()):
            self.assertIn(MAC, definition)

    def test_nic_attached_while_image_is_fetched_is_kept(self) -> None:
        self.call_at("after fetch the rescue disk".__eq__, self.attach)
        self.assert_refused_unharmed()
        self.assert_nic_is_kept()
        self.rescue_server()
        self.assertIn(MAC, self.definition(self.server))

    def test_nic_attached_after_preparation_is_kept(self) -> None:
        self.call_at(self.is_prepared, self.attach)
        self.assert_refused_unharmed()
        self.assert_nic_is_kept()
        self.assertEqual("compute_rescue_plan", self.last_event(self.server)["event"])

    def test_nic_attached_to_a_stopped_server_is_kept(self) -> None:
        self._stop_server(self.server)
        self.call_at(self.is_prepared, self.attach)
        self.error_of(self.rescue, self.server, self.image)
        self.assert_status("SHUTOFF")
        self.assert_nic_is_kept()

    def test_snapshot_after_preparation_is_noticed(self) -> None:
        self.call_at(self.is_prepared, self.snapshot)
        self.assert_refused_unharmed()
        self.assertIn(SNAPSHOT, self.live_definition())

    def snapshot_at_power_off(self) -> None:
        power_off = self.driver.power_off

        def take(*args: object) -> None:
            self.snapshot()
            power_off(*args)

        self.power_offs().side_effect = take

    def test_snapshot_at_power_off_is_followed(self) -> None:
        self.snapshot_at_power_off()
        self.rescue_server()
        self.assertIn(SNAPSHOT, self.definition(self.server))
        self.assertIn(SNAPSHOT, self.store().load_original().to_xml())
        self.unrescue_server()
        self.assertIn(SNAPSHOT, self.definition(self.server))

    def test_rollback_follows_a_snapshot_at_power_off(self) -> None:
        self.snapshot_at_power_off()
        self.fail_launch(of_rescue=True)
        self.error_of(self.rescue, self.server, self.image)
        self.assert_status("ACTIVE")
        self.assertIn(SNAPSHOT, self.definition(self.server))
