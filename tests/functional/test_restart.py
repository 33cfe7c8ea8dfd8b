# SPDX-License-Identifier: Apache-2.0
"""nova-compute or the host restarts during a rescue, and the server is recovered."""

import threading
from collections.abc import Callable
from typing import Any
from unittest import mock

import fixtures
from nova.compute import power_state, task_states, vm_states

from stable_rescue import nova_internals
from stable_rescue.storage.record import State
from stable_rescue.virt import transitions
from tests.functional.failures import NO_MEMORY, FailureTestBase


class RestartTest(FailureTestBase):
    """nova-compute is killed during a rescue and started again (U24)."""

    def interrupt(self, vm_state: str, task_state: str | None, state: State) -> None:
        """Set database and record to what a killed nova-compute leaves."""
        self.set_nova_state(vm_state, task_state)
        self.store().save(self.record().at(state))

    def test_restart_after_start_of_rescue_sets_rescued(self) -> None:
        self.rescue_server()
        self.interrupt(vm_states.ACTIVE, task_states.RESCUING, State.RESCUED)
        self.restart_compute_service("compute1")
        self.assert_rescued()
        self.unrescue(self.server)
        self.assert_restored()

    def test_restart_at_the_beginning_of_rescue_restores(self) -> None:
        self.rescue_server()
        self.interrupt(vm_states.ACTIVE, task_states.RESCUING, State.BEGINNING)
        self.restart_compute_service("compute1")
        self.assert_restored()

    def test_restart_during_unrescue_restores(self) -> None:
        self.rescue_server()
        self.interrupt(vm_states.RESCUED, task_states.UNRESCUING, State.ENDING)
        self.restart_compute_service("compute1")
        self.assert_restored()

    def test_restart_cleans_up_after_an_ended_rescue(self) -> None:
        """A server that was stopped in the meantime is not started."""
        self.rescue_server()
        self.unrescue_without_cleanup()
        self._stop_server(self.server)
        self.assertEqual(
            ["stable_rescue.json", "unrescue.xml"], self.files(self.server)
        )
        self.restart_compute_service("compute1")
        self.assert_restored(running=False)

    def test_rescue_queued_at_restart_is_done(self) -> None:
        for image in (self.image, self.create_rescue_image()):
            self.set_nova_state(vm_states.ACTIVE, task_states.RESCUING)
            queued = self.instance()
            self.restart_compute_service("compute1")
            self.assertEqual(task_states.RESCUING, self.instance().task_state)
            self.manager.rescue_instance(self.context, queued, "x", image, True)
            self.assert_status("RESCUE")
            self.unrescue(self.server)
            self.assert_restored()

    def test_unrescue_queued_at_restart_is_done(self) -> None:
        self.rescue_server()
        self.set_nova_state(vm_states.RESCUED, task_states.UNRESCUING)
        queued = self.instance()
        self.restart_compute_service("compute1")
        self.assertEqual(task_states.UNRESCUING, self.instance().task_state)
        self.manager.unrescue_instance(self.context, queued)
        self.assert_restored()

    def test_restart_recovers_at_once_if_stalled_after_is_zero(self) -> None:
        self.flags(stalled_after=0, group="stable_rescue")
        self.set_nova_state(vm_states.ACTIVE, task_states.RESCUING)
        self.restart_compute_service("compute1")
        self.assert_restored()
        self.rescue_server()
        self.set_nova_state(vm_states.RESCUED, task_states.UNRESCUING)
        self.restart_compute_service("compute1")
        self.assert_rescued()

    def test_restart_keeps_a_rescued_server_rescued(self) -> None:
        self.rescue_server()
        rescue = self.definition(self.server)
        self.restart_compute_service("compute1")
        self._wait_for_state_change(self.server, "RESCUE")
        self.assertEqual(rescue, self.definition(self.server))

    def test_restart_with_damaged_record_keeps_it_rescued(self) -> None:
        self.rescue_server()
        (self.folder(self.server) / "stable_rescue.json").write_text("{")
        self.restart_compute_service("compute1")
        self._wait_for_state_change(self.server, "RESCUE")
        self.unrescue(self.server)
        self.assert_restored()


class TwoServersTest(FailureTestBase):
    """Two servers were being rescued when nova-compute was killed."""

    def setUp(self) -> None:
        super().setUp()
        self.flags(stalled_after=0, group="stable_rescue")
        self.other = self.server
        self.set_nova_state(vm_states.ACTIVE, task_states.RESCUING)
        self.server = self.create_server()
        self.note_original()
        self.set_nova_state(vm_states.ACTIVE, task_states.RESCUING)
        self.recover = transitions.recover

    def restart_compute_with(self, recover_other: Callable[..., Any]) -> None:
        """Restart nova-compute with a replaced recovery of the other server."""

        def recover(driver: Any, context: Any, instance: Any, finish: bool) -> Any:
            is_other = instance.uuid == self.other["id"]
            function = recover_other if is_other else self.recover
            return function(driver, context, instance, finish)

        self.useFixture(
            fixtures.MonkeyPatch(f"{transitions.__name__}.recover", recover)
        )
        self.restart_compute_service("compute1")

    def test_failed_recovery_does_not_stop_others(self) -> None:
        self.restart_compute_with(mock.Mock(side_effect=NO_MEMORY))
        self.assert_restored()

    def test_hanging_recovery_does_not_stop_others(self) -> None:
        self.flags(recovery_timeout=1, group="stable_rescue")
        resume = threading.Event()
        self.addCleanup(resume.set)

        def hang(*args: Any) -> Any:
            resume.wait(60)
            return self.recover(*args)

        self.restart_compute_with(hang)
        self.assert_restored()
        resume.set()
        self._wait_for_server_parameter(
            self.other, {"status": "ACTIVE", "OS-EXT-STS:task_state": None}
        )


class HostRebootTest(FailureTestBase):
    """The host is rebooted while the server is rescued (U14, U15)."""

    def reboot_host(self) -> None:
        # nova-compute is not running when the domain ends, so it gets no event.
        self.libvirt_connection()._event_callbacks.clear()
        self.domain().destroy()
        self.restart_compute_service("compute1")

    def check_rescue_is_restarted(self, resume: bool) -> None:
        self.flags(resume_guests_state_on_host_boot=resume)
        self.rescue_server()
        rescue = self.definition(self.server)
        self.reboot_host()
        self._wait_for_server_parameter(
            self.server, {"status": "RESCUE", "OS-EXT-STS:power_state": 1}
        )
        self.assertEqual(rescue, self.definition(self.server))
        self.unrescue(self.server)
        self.assert_restored()

    def test_host_reboot_with_resume_restarts_the_rescue(self) -> None:
        self.check_rescue_is_restarted(resume=True)

    def test_host_reboot_mounts_shares_before_the_start(self) -> None:
        self.rescue_server()
        calls = mock.Mock()
        for name in ("mount_shares", "start_guest"):
            call = getattr(calls, name)
            call.side_effect = getattr(nova_internals, name)
            self.useFixture(
                fixtures.MonkeyPatch(f"stable_rescue.nova_internals.{name}", call)
            )
        self.reboot_host()
        self._wait_for_state_change(self.server, "RESCUE")
        self.assertEqual(
            ["mount_shares", "start_guest"], [call[0] for call in calls.mock_calls]
        )

    def test_host_reboot_without_resume_restarts_the_rescue(self) -> None:
        self.check_rescue_is_restarted(resume=False)

    def check_untouched_server_runs(self, state: State | None) -> None:
        """Reboot the host while a rescue is being prepared; Nova resumes the server."""
        self.flags(resume_guests_state_on_host_boot=True)
        self.flags(stalled_after=0, group="stable_rescue")
        if state is not None:
            self.rescue_server()
            record = self.record().at(state)
            self.unrescue_server()
            self.store().save(record)
        self.set_nova_state(vm_states.ACTIVE, task_states.RESCUING)
        self.reboot_host()
        self.assert_status("ACTIVE")
        self.assertTrue(self.domain().isActive())
        self.assertEqual(power_state.RUNNING, self.instance().power_state)
        self.assertIsNone(self.record())

    def test_host_reboot_during_the_preparation_resumes_server(self) -> None:
        self.check_untouched_server_runs(State.PREPARING)

    def test_host_reboot_before_the_preparation_resumes_server(self) -> None:
        self.check_untouched_server_runs(None)
