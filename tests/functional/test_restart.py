# SPDX-License-Identifier: Apache-2.0
"""Nova-compute or the host is started again amid a rescue: the server is whole."""

import threading
from collections.abc import Callable
from typing import Any
from unittest import mock

import fixtures
from nova import objects
from nova.compute import task_states, vm_states

from stable_rescue import nova_internals
from stable_rescue.storage.record import State
from stable_rescue.virt import transitions
from tests.functional.failures import NO_MEMORY, FailureTestBase


class RestartTest(FailureTestBase):
    """U24: nova-compute is killed and started again."""

    def cut_short(self, vm_state: str, task_state: str | None, state: State) -> None:
        """Bring database and record to where a killed process has left them."""
        instance = self.instance()
        instance.vm_state, instance.task_state = vm_state, task_state
        instance.save()
        store = self.store()
        store.save(store.load().at(state))

    def test_restart_after_start_of_rescue_sets_rescued(self) -> None:
        self.rescue_server()
        self.cut_short(vm_states.ACTIVE, task_states.RESCUING, State.RESCUED)
        self.restart_compute_service("compute1")
        self.assert_rescued()
        self.unrescue(self.server)
        self.assert_restored()

    def test_restart_at_the_beginning_of_rescue_restores(self) -> None:
        self.rescue_server()
        self.cut_short(vm_states.ACTIVE, task_states.RESCUING, State.BEGINNING)
        self.restart_compute_service("compute1")
        self.assert_restored()

    def test_restart_during_unrescue_restores(self) -> None:
        self.rescue_server()
        self.cut_short(vm_states.RESCUED, task_states.UNRESCUING, State.ENDING)
        self.restart_compute_service("compute1")
        self.assert_restored()

    def test_restart_cleans_up_after_an_ended_rescue(self) -> None:
        """Also where the server was stopped since: it is not started."""
        self.rescue_server()
        self.unrescue_without_cleanup()
        self._stop_server(self.server)
        self.assertEqual(
            ["stable_rescue.json", "unrescue.xml"], self.files(self.server)
        )
        self.restart_compute_service("compute1")
        self.assert_restored(running=False)

    def test_restart_before_the_record_exists_restores(self) -> None:
        instance = self.instance()
        instance.task_state = task_states.RESCUING
        instance.save()
        self.restart_compute_service("compute1")
        self.assert_restored()

    def test_restart_keeps_a_rescued_server_rescued(self) -> None:
        self.rescue_server()
        before = self.definition(self.server)
        self.restart_compute_service("compute1")
        self._wait_for_state_change(self.server, "RESCUE")
        self.assertEqual(before, self.definition(self.server))

    def test_restart_with_damaged_record_keeps_it_rescued(self) -> None:
        self.rescue_server()
        (self.folder(self.server) / "stable_rescue.json").write_text("{")
        self.restart_compute_service("compute1")
        self._wait_for_state_change(self.server, "RESCUE")
        self.unrescue(self.server)
        self.assert_restored()


class ManyAtStartTest(FailureTestBase):
    """Several servers were in a rescue when nova-compute was killed."""

    def setUp(self) -> None:
        super().setUp()
        self.bad = self.server
        self.server = self.create_server()
        self.note_original()
        for server in (self.bad, self.server):
            instance = objects.Instance.get_by_uuid(self.context, server["id"])
            instance.task_state = task_states.RESCUING
            instance.save()
        self.recover = transitions.recover

    def at_start(self, of_bad: Callable[..., Any]) -> None:
        """Start nova-compute, with something else done for the bad one."""

        def settle(driver: Any, context: Any, instance: Any, finish: bool) -> Any:
            bad = instance.uuid == self.bad["id"]
            function = of_bad if bad else self.recover
            return function(driver, context, instance, finish)

        self.useFixture(fixtures.MonkeyPatch(f"{transitions.__name__}.recover", settle))
        self.restart_compute_service("compute1")

    def test_failed_recovery_does_not_stop_others(self) -> None:
        self.at_start(mock.Mock(side_effect=NO_MEMORY))
        self.assert_restored()

    def test_hanging_recovery_does_not_stop_others(self) -> None:
        self.flags(recovery_timeout=1, group="stable_rescue")
        go_on = threading.Event()
        self.addCleanup(go_on.set)

        def hang(*args: Any) -> Any:
            go_on.wait(60)
            return self.recover(*args)

        self.at_start(hang)
        self.assert_restored()
        go_on.set()
        self._wait_for_server_parameter(
            self.bad, {"status": "ACTIVE", "OS-EXT-STS:task_state": None}
        )


class HostRestartTest(FailureTestBase):
    """U14, U15: the host is started again while a server is rescued."""

    def restart_host(self) -> None:
        # Nobody is there to see the domain end.
        self.libvirt_connection()._event_callbacks.clear()
        self.domain().destroy()
        self.restart_compute_service("compute1")

    def come_back(self, resume: bool) -> None:
        self.flags(resume_guests_state_on_host_boot=resume)
        self.rescue_server()
        before = self.definition(self.server)
        self.restart_host()
        self._wait_for_server_parameter(
            self.server, {"status": "RESCUE", "OS-EXT-STS:power_state": 1}
        )
        self.assertEqual(before, self.definition(self.server))
        self.unrescue(self.server)
        self.assert_restored()

    def test_host_reboot_with_resume_restarts_the_rescue(self) -> None:
        self.come_back(True)

    def test_host_reboot_mounts_shares_before_the_start(self) -> None:
        self.rescue_server()
        done = mock.Mock()
        for name in ("mount_shares", "start_guest"):
            function = getattr(nova_internals, name)
            getattr(done, name).side_effect = function
            self.useFixture(
                fixtures.MonkeyPatch(
                    f"stable_rescue.nova_internals.{name}", getattr(done, name)
                )
            )
        self.restart_host()
        self._wait_for_state_change(self.server, "RESCUE")
        self.assertEqual(
            ["mount_shares", "start_guest"], [call[0] for call in done.mock_calls]
        )

    def test_host_reboot_without_resume_restarts_the_rescue(self) -> None:
        self.come_back(False)
