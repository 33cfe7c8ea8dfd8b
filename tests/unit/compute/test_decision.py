# SPDX-License-Identifier: Apache-2.0
"""What recovery does with an instance, in every situation."""

import dataclasses
import itertools

import ddt
from nova.compute import task_states, vm_states
from oslotest import base

from stable_rescue.compute.decision import Action, Situation, answer_of, decide
from stable_rescue.outcome import Answer, Outcome

HEALTHY = Situation(
    vm_state=vm_states.ACTIVE,
    task_state=None,
    is_failed=False,
    has_record=False,
    is_untouched=False,
    is_running=True,
)
# nova-compute has set the instance to ERROR because of its rescue.
FAILED = {"vm_state": vm_states.ERROR, "is_failed": True}
RESCUED = {"vm_state": vm_states.RESCUED}
ERROR = {"vm_state": vm_states.ERROR}


@ddt.ddt
class DecisionTest(base.BaseTestCase):
    @ddt.data(
        (Action.NOTHING, {}),
        (Action.NOTHING, ERROR),
        (Action.FINISH, {"task_state": task_states.RESCUING}),
        (Action.FINISH, {"task_state": task_states.UNRESCUING, **RESCUED}),
        (Action.FINISH, {"task_state": task_states.RESCUING, **ERROR}),
        (Action.FINISH, {**FAILED, "has_record": True}),
        (Action.FINISH, {**FAILED, "has_record": True, "is_untouched": True}),
        (Action.KEEP, RESCUED),
        (Action.KEEP, {**RESCUED, "has_record": True}),
        (Action.RESUME, {**RESCUED, "has_record": True, "is_running": False}),
        (Action.CLEAN_UP, {"has_record": True}),
        (Action.CLEAN_UP, {"vm_state": vm_states.STOPPED, "has_record": True}),
        (Action.END_ERROR, FAILED),
        (Action.DISCARD, {**ERROR, "has_record": True, "is_untouched": True}),
        (Action.LEAVE_ERROR, {**ERROR, "has_record": True}),
    )
    @ddt.unpack
    def test_each_situation_has_its_action(
        self, action: Action, differences: dict[str, object]
    ) -> None:
        self.assertIs(action, decide(dataclasses.replace(HEALTHY, **differences)))

    def test_error_of_an_operator_never_ends(self) -> None:
        for has_record, is_untouched, is_running in itertools.product(
            (False, True), repeat=3
        ):
            situation = Situation(
                vm_states.ERROR, None, False, has_record, is_untouched, is_running
            )
            self.assertIn(
                decide(situation),
                (Action.NOTHING, Action.DISCARD, Action.LEAVE_ERROR),
                situation,
            )

    def test_each_outcome_has_an_answer(self) -> None:
        for outcome in Outcome:
            self.assertEqual(outcome.name.lower(), answer_of(outcome, was_failed=True))
        self.assertIs(Answer.CANCELED, answer_of(None, was_failed=False))
        self.assertIs(Answer.ERROR_ENDED, answer_of(None, was_failed=True))
