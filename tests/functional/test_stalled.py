# SPDX-License-Identifier: Apache-2.0
"""A periodic task recovers stalled rescues while nova-compute is running."""

import threading
from typing import Any
from unittest import mock

import fixtures
from nova import objects
from nova.compute import task_states, vm_states
from oslo_concurrency import lockutils

from stable_rescue import nova_internals
from stable_rescue.compute.watch import Watch
from stable_rescue.domain import recognize
from stable_rescue.domain.document import Domain
from stable_rescue.storage import inspection
from stable_rescue.storage.record import State
from stable_rescue.virt import transitions
from tests.functional.failures import NO_MEMORY, FailureTestBase

TIMEOUT = 60  # seconds


class StalledTest(FailureTestBase):
    def setUp(self) -> None:
        super().setUp()
        self.now = 0.0
        self.useFixture(
            fixtures.MockPatchObject(self.manager, "_watch", Watch(lambda: self.now))
        )

    def run_periodic_task(self, *seconds: float) -> None:
        """Run the task once for each number, after so many more seconds."""
        for passed in seconds:
            self.now += passed
            self.manager._recover_stalled_rescues(self.context)
            for recovery in self.manager._recovering.values():
                recovery.result(TIMEOUT)

    def test_rescue_that_never_began_is_restored(self) -> None:
        self.set_nova_state(vm_states.ACTIVE, task_states.RESCUING)
        self.run_periodic_task(0, 119)
        self.assertEqual(task_states.RESCUING, self.instance().task_state)
        self.run_periodic_task(60)
        self.assert_restored()

    def test_unrescue_that_never_began_stays_rescued(self) -> None:
        self.rescue_server()
        self.set_nova_state(vm_states.RESCUED, task_states.UNRESCUING)
        self.run_periodic_task(0, 120)
        self.assert_rescued()
        self.unrescue(self.server)
        self.assert_restored()

    def test_rescue_missing_in_the_database_is_set_rescued(self) -> None:
        self.rescue_server()
        self.set_nova_state(vm_states.ACTIVE, task_states.RESCUING)
        self.run_periodic_task(0, 120)
        self.assert_rescued()

    def test_rescue_in_progress_is_not_stalled(self) -> None:
        self.set_nova_state(vm_states.ACTIVE, task_states.RESCUING)
        with self.manager._watch.working_on(self.server["id"]):
            self.run_periodic_task(0, 120, 120)
        self.assertEqual(task_states.RESCUING, self.instance().task_state)

    def test_late_rescue_request_is_dropped(self) -> None:
        self.set_nova_state(vm_states.ACTIVE, task_states.RESCUING)
        late_instance = self.instance()
        self.run_periodic_task(0, 120)
        for image in (self.image, self.create_rescue_image(), "gone"):
            self.manager.rescue_instance(self.context, late_instance, "x", image, True)
            self.assert_restored()

    def test_late_stock_unrescue_request_is_dropped(self) -> None:
        self.rescue_server(self.create_rescue_image())
        self.set_nova_state(vm_states.RESCUED, task_states.UNRESCUING)
        late_instance = self.instance()
        self.set_nova_state(vm_states.RESCUED, None)
        rescue = self.definition(self.server)
        self.manager.unrescue_instance(self.context, late_instance)
        self.assert_status("RESCUE")
        self.assertEqual(rescue, self.definition(self.server))

    def test_stock_rescue_canceled_in_its_preparation_is_dropped(self) -> None:
        self.set_nova_state(vm_states.ACTIVE, task_states.RESCUING)
        check = inspection.check_stock

        def cancel(*args: Any) -> None:
            check(*args)
            self.set_nova_state(vm_states.ACTIVE, None)

        self.useFixture(
            fixtures.MonkeyPatch(f"{inspection.__name__}.check_stock", cancel)
        )
        image = self.create_rescue_image()
        self.manager.rescue_instance(self.context, self.instance(), "x", image, True)
        self.assert_restored()

    def test_failed_rollback_is_retried(self) -> None:
        with mock.patch(
            "stable_rescue.nova_internals.start_guest", side_effect=NO_MEMORY
        ):
            self.error_of(self.rescue, self.server, self.image)
            self._wait_for_server_parameter(self.server, {"status": "ERROR"})
            self.run_periodic_task(0, 120)
        self.assertEqual(State.BEGINNING, self.record().state)
        self.run_periodic_task(60, 120)
        self.assert_restored()

    def test_failed_redefinition_of_the_original_is_retried(self) -> None:
        """libvirt failed after the trial; a soft reboot would start the rescue."""
        define = mock.Mock(wraps=nova_internals.define_guest)
        define.side_effect = [mock.DEFAULT, *[NO_MEMORY] * 9]
        with mock.patch("stable_rescue.nova_internals.define_guest", define):
            self.error_of(self.rescue, self.server, self.image)
        self.assert_status("ACTIVE")
        self.assertTrue(recognize.is_rescue(Domain.parse(self.next_definition())))
        self.run_periodic_task(0, 120)
        self.assert_restored()

    def test_error_that_could_not_be_ended_is_ended_later(self) -> None:
        """The rescue was recovered earlier; only its ERROR is left."""
        self.set_error()
        with mock.patch(
            "stable_rescue.compute.instance_recovery.save_over", side_effect=NO_MEMORY
        ):
            self.manager._recover_one(self.context, self.instance())
        self.assertEqual(vm_states.ERROR, self.instance().vm_state)
        self.run_periodic_task(0, 120)
        self.assert_restored()

    def test_server_in_error_without_a_rescue_is_left_alone(self) -> None:
        self.set_nova_state(vm_states.ERROR, None)
        self.run_periodic_task(0, 120)
        self.assertEqual(vm_states.ERROR, self.instance().vm_state)

    def test_stalled_after_zero_disables_recovery(self) -> None:
        self.flags(stalled_after=0, group="stable_rescue")
        self.set_nova_state(vm_states.ACTIVE, task_states.RESCUING)
        self.run_periodic_task(0, 120, 1000)
        self.assertEqual(task_states.RESCUING, self.instance().task_state)

    def test_rescue_and_unrescue_are_watched(self) -> None:
        watched: list[str] = []
        working_on = self.manager._watch.working_on
        with mock.patch.object(
            self.manager._watch,
            "working_on",
            lambda uuid: (watched.append(uuid), working_on(uuid))[1],
        ):
            self.rescue_server()
            self.unrescue(self.server)
            self.assert_restored()
        self.assertEqual([self.server["id"]] * 2, watched)

    def test_hanging_recovery_does_not_stop_the_periodic_task(self) -> None:
        other, self.server = self.server, self.create_server()
        self.note_original()
        for uuid in (other["id"], self.server["id"]):
            instance = objects.Instance.get_by_uuid(self.context, uuid)
            instance.task_state = task_states.RESCUING
            instance.save()
        resume = threading.Event()
        self.addCleanup(resume.set)
        recover = transitions.recover

        def hang(driver: Any, context: Any, instance: Any, finish: bool) -> Any:
            if instance.uuid == other["id"]:
                resume.wait(TIMEOUT)
            return recover(driver, context, instance, finish)

        self.useFixture(fixtures.MonkeyPatch(f"{transitions.__name__}.recover", hang))
        for passed in (0, 120, 120):
            self.now += passed
            self.manager._recover_stalled_rescues(self.context)
        self.assert_restored()
        self.assertFalse(
            resume.is_set() or self.manager._recovering[other["id"]].done()
        )
        resume.set()
        self.manager._recovering[other["id"]].result(TIMEOUT)

    def test_locked_server_is_skipped(self) -> None:
        self.set_nova_state(vm_states.ACTIVE, task_states.RESCUING)
        with lockutils.lock(self.server["id"]):
            self.run_periodic_task(0, 120)
        self.assertEqual(task_states.RESCUING, self.instance().task_state)
        self.run_periodic_task(60, 120)
        self.assert_restored()

    def test_record_of_another_hosts_server_is_not_read(self) -> None:
        """The directories of all servers may be on storage that hosts share."""
        self.rescue_server()
        shared = self.folder({"id": "4c6a30de-6f2b-4b1c-8a5e-5f9d0d1b7a21"})
        shared.mkdir()
        record = self.folder(self.server) / "stable_rescue.json"
        (shared / record.name).write_bytes(record.read_bytes())
        found = self.driver.instances_with_rescue_record()
        self.assertEqual([self.server["id"]], found)
