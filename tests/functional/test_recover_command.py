# SPDX-License-Identifier: Apache-2.0
"""An operator has nova-compute recover a server, or say what it would do."""

import argparse
import json
from typing import Any
from unittest import mock

from nova.compute import task_states, vm_states
from oslo_concurrency import lockutils

from stable_rescue.cmd import recover
from stable_rescue.cmd.exits import NOT_ALL, SUCCESS, CommandError
from stable_rescue.outcome import Answer
from stable_rescue.storage import requests
from stable_rescue.storage.record import State
from stable_rescue.virt import transitions
from tests.functional.asking import NO_SERVER, SECONDS, AskingTestBase
from tests.functional.failures import NO_MEMORY, FailureTestBase


class RecoverTest(AskingTestBase, FailureTestBase):
    def ask(self, *words: str, server: str = "", times: int = 1) -> list[Any]:
        """Run the command, and nova-compute's task until each command has ended.

        :returns: the exit status and the result of each, or the command's error
        """
        options = argparse.Namespace(
            format="json",
            server=server or self.server["id"],
            dry_run="--dry-run" in words,
            timeout=SECONDS,
        )
        results: list[Any] = []
        for each in self.ask_nova_compute(recover.run, options, times):
            error = each.exception()
            if error is None:
                (row,) = json.loads(each.result().text)["results"]
                results.append((each.result().status, row["result"]))
            else:
                self.assertIsInstance(error, CommandError)
                results.append(str(error))
        return results

    def assert_foreseen(self, result: Answer, status: int = SUCCESS) -> None:
        """Assert that a dry run changes nothing, and what it and a recovery say."""
        before = self.observed(), self.nova_state(), self.record()
        self.assertEqual([(status, result)], self.ask("--dry-run"))
        self.assertEqual(before, (self.observed(), self.nova_state(), self.record()))
        self.assertEqual([(status, result)], self.ask())

    def interrupt(
        self, vm_state: str, task_state: str | None, state: State | None = None
    ) -> None:
        """Set database and record to what an interrupted rescue leaves."""
        self.set_nova_state(vm_state, task_state)
        if state is not None:
            self.store().save(self.record().at(state))

    def test_rescue_that_never_began_is_canceled(self) -> None:
        self.set_nova_state(vm_states.ACTIVE, task_states.RESCUING)
        self.assert_foreseen(Answer.CANCELED)
        self.assert_restored()

    def test_rescue_that_was_interrupted_is_restored_or_kept(self) -> None:
        self.rescue_server()
        self.interrupt(vm_states.ACTIVE, task_states.RESCUING, State.RESCUED)
        self.assert_foreseen(Answer.RESCUED)
        self.assert_rescued()
        self.interrupt(vm_states.ACTIVE, task_states.RESCUING, State.BEGINNING)
        self.assert_foreseen(Answer.RESTORED)
        self.assert_restored()

    def test_unrescue_that_was_interrupted_is_finished(self) -> None:
        self.rescue_server()
        self.interrupt(vm_states.RESCUED, task_states.UNRESCUING)
        self.assert_foreseen(Answer.RESCUED)
        self.assert_rescued()
        self.interrupt(vm_states.RESCUED, task_states.UNRESCUING, State.ENDING)
        self.assert_foreseen(Answer.RESTORED)
        self.assert_restored()

    def test_stock_rescue_is_recovered_with_and_without_a_record(self) -> None:
        for has_record in (True, False):
            self.rescue_server(self.create_rescue_image())
            if not has_record:
                self.store().remove_record()
            self.interrupt(vm_states.RESCUED, task_states.UNRESCUING)
            self.assert_foreseen(Answer.RESCUED if has_record else Answer.RESTORED)
            if has_record:
                self.unrescue_server()
            self.assert_restored()

    def test_rescued_server_without_a_domain_is_rescued_again(self) -> None:
        """The state that ``stable-rescue list`` calls no-domain."""
        self.rescue_server()
        self.domain().destroy()
        self.domain().undefine()
        self.assertEqual([(SUCCESS, Answer.RESCUED)], self.ask("--dry-run"))
        self.assertEqual([(SUCCESS, Answer.RESCUED)], self.ask())
        self.assert_rescued()
        self.unrescue_server()
        self.assert_restored()

    def test_damaged_record_does_not_stop_a_recovery(self) -> None:
        self.rescue_server()
        self.interrupt(vm_states.RESCUED, task_states.UNRESCUING)
        (self.folder(self.server) / "stable_rescue.json").write_text("{")
        self.assert_foreseen(Answer.RESTORED)
        self.assert_restored()

    def test_rescue_that_touched_nothing_is_discarded(self) -> None:
        self.rescue_server()
        record = self.record()
        self.unrescue_server()
        self.store().save(record.at(State.PREPARING))
        self.set_nova_state(vm_states.ACTIVE, task_states.RESCUING)
        self.assert_foreseen(Answer.UNTOUCHED)
        self.assert_restored()
        # An operator has set it to ERROR meanwhile, and that stays.
        self.store().save(record.at(State.PREPARING))
        self.set_error(is_ours=False)
        self.assert_foreseen(Answer.CLEANED_UP)
        self.assertEqual(vm_states.ERROR, self.instance().vm_state)
        self.assert_original()

    def test_record_that_an_unrescue_left_is_removed(self) -> None:
        self.rescue_server()
        self.unrescue_without_cleanup()
        self.assert_foreseen(Answer.CLEANED_UP)
        self.assert_restored()

    def test_failed_server_is_restored_at_once(self) -> None:
        with mock.patch(
            "stable_rescue.nova_internals.start_guest", side_effect=NO_MEMORY
        ):
            self.error_of(self.rescue, self.server, self.image)
            self._wait_for_server_parameter(self.server, {"status": "ERROR"})
            self.assertEqual([(SUCCESS, Answer.RESTORED)], self.ask("--dry-run"))
            self.assertEqual([(NOT_ALL, Answer.FAILED)], self.ask())
        self.assert_foreseen(Answer.RESTORED)
        self.assert_restored()
        self.set_error()
        self.assert_foreseen(Answer.ERROR_ENDED)
        self.assert_restored()

    def test_rescue_system_that_is_off_is_started(self) -> None:
        self.rescue_server()
        self.assert_foreseen(Answer.NOTHING)
        self.domain().destroy()
        self.assert_foreseen(Answer.RESCUED)
        self.assert_rescued()

    def test_rescue_that_an_operator_has_ended_stays(self) -> None:
        self.rescue_server()
        self.set_error(is_ours=False)
        self.assert_foreseen(Answer.OTHER_ERROR, NOT_ALL)
        self.assertEqual(vm_states.ERROR, self.instance().vm_state)
        self.set_nova_state(vm_states.ACTIVE, None)
        self.assert_foreseen(Answer.STILL_DEFINED, NOT_ALL)
        self.assert_rescue_runs()

    def test_server_that_needs_nothing_is_left(self) -> None:
        self.assert_foreseen(Answer.NOTHING)
        self.assert_restored()

    def test_server_at_work_is_left(self) -> None:
        self.set_nova_state(vm_states.ACTIVE, task_states.RESCUING)
        with lockutils.lock(self.server["id"]):
            self.assert_foreseen(Answer.BUSY, NOT_ALL)
        with self.manager._watch.working_on(self.server["id"]):
            self.assert_foreseen(Answer.BUSY, NOT_ALL)
        self.set_nova_state(vm_states.ACTIVE, task_states.DELETING)
        self.assert_foreseen(Answer.OTHER_TASK, NOT_ALL)

    def test_server_of_another_host_is_left(self) -> None:
        self.rescue_server()
        instance = self.instance()
        instance.host, instance.task_state = "compute2", task_states.UNRESCUING
        instance.save()
        before = self.observed()
        for words in ((), ("--dry-run",)):
            self.assertIn("is on another host", self.ask(*words)[0])
        self.assertEqual(before, self.observed())

    def test_server_deleted_before_its_recovery_is_left(self) -> None:
        self.rescue_server()
        self.interrupt(vm_states.RESCUED, task_states.UNRESCUING, State.ENDING)
        recover_one = self.manager._recover_one

        def delete_first(*args: Any, **options: Any) -> Answer:
            self._delete_server(self.server)
            return recover_one(*args, **options)

        with mock.patch.object(self.manager, "_recover_one", delete_first):
            self.assertIn("no server", self.ask()[0])
        self.assertEqual({}, self.libvirt_connection()._vms)
        for words in ((), ("--dry-run",)):
            self.assertIn("no server", self.ask(*words, server=NO_SERVER)[0])

    def test_server_rescued_anew_before_its_recovery_stays_rescued(self) -> None:
        self.set_nova_state(vm_states.ACTIVE, task_states.RESCUING)
        recover_one = self.manager._recover_one

        def rescue_first(*args: Any, **options: Any) -> Answer:
            self.set_nova_state(vm_states.ACTIVE, None)
            self.rescue_server()
            return recover_one(*args, **options)

        with mock.patch.object(self.manager, "_recover_one", rescue_first):
            self.assertEqual([(SUCCESS, Answer.NOTHING)], self.ask())
        self.assert_rescued()

    def test_two_commands_at_once_recover_once(self) -> None:
        self.rescue_server()
        self.interrupt(vm_states.RESCUED, task_states.UNRESCUING, State.ENDING)
        with mock.patch.object(transitions, "end", side_effect=transitions.end) as end:
            results = self.ask(times=3)
        self.assertEqual(1, end.call_count)
        # One that is late finds nothing to do.
        self.assertLessEqual(
            {*results}, {(SUCCESS, Answer.RESTORED), (SUCCESS, Answer.NOTHING)}
        )
        self.assert_restored()

    def test_restart_answers_a_request_that_was_taken(self) -> None:
        with requests.Question.ask(self.server["id"], requests.RECOVER) as question:
            requests.take(question.request)
            self.restart_compute_service("compute1")
            self.assertEqual(requests.RESTARTED, question.state())
        requests.folder().rmdir()
        self.restart_compute_service("compute1")
        self.assertEqual([], list(requests.folder().iterdir()))

    def test_unusable_folder_stops_neither_the_task_nor_a_start(self) -> None:
        requests.folder().mkdir()
        requests.folder().chmod(0o777)
        self.manager._recover_requested_rescues(self.context)
        self.restart_compute_service("compute1")
        self.assertIn("must belong to", self.manager._folder_problem)
        requests.folder().rmdir()
        self.manager._recover_requested_rescues(self.context)
        self.assertEqual("", self.manager._folder_problem)
