# SPDX-License-Identifier: Apache-2.0
"""What recovery does with an instance: a function of values that were read before."""

import enum
from dataclasses import dataclass

from nova.compute import vm_states

from stable_rescue.compute import states
from stable_rescue.outcome import Answer, Outcome


class Action(enum.Enum):
    """What recovery does with an instance."""

    #: Finish or roll back a rescue or an unrescue, and end the instance's task.
    FINISH = enum.auto()
    #: Start the rescue system again.
    RESUME = enum.auto()
    #: Leave a rescue that runs; only times are corrected in Nova's database.
    KEEP = enum.auto()
    #: Remove the leftovers of a rescue that has ended.
    CLEAN_UP = enum.auto()
    #: Remove a rescue that has not touched the guest; the ERROR stays.
    DISCARD = enum.auto()
    #: End the ERROR that an earlier rescue has left.
    END_ERROR = enum.auto()
    #: Leave an ERROR that nova-compute has not set because of a rescue.
    LEAVE_ERROR = enum.auto()
    #: There is nothing to recover.
    NOTHING = enum.auto()


@dataclass(frozen=True)
class Situation:
    """What an instance, its record and its domain say about an interrupted rescue.

    ``is_failed`` is True if nova-compute has set the instance to ERROR because of its
    rescue, and ``is_untouched`` if the record says that the guest was never touched.
    ``is_running`` is the guest's state in libvirt, and matters only in a rescue.
    """

    vm_state: str
    task_state: str | None
    is_failed: bool
    has_record: bool
    is_untouched: bool
    is_running: bool


def decide(situation: Situation) -> Action:
    """Return what recovery does with an instance that it may recover."""
    if situation.task_state in states.INTERRUPTED or (
        situation.has_record and situation.is_failed
    ):
        return Action.FINISH
    if situation.vm_state == vm_states.RESCUED:
        # The guest is off if the host was rebooted (U14, U15).
        return Action.KEEP if situation.is_running else Action.RESUME
    if situation.has_record and situation.vm_state != vm_states.ERROR:
        return Action.CLEAN_UP
    if situation.is_failed:
        return Action.END_ERROR
    if situation.is_untouched:
        return Action.DISCARD
    return Action.LEAVE_ERROR if situation.has_record else Action.NOTHING


def answer_of(outcome: Outcome | None, was_failed: bool) -> Answer:
    """Return what the result of an interrupted rescue's recovery means.

    :param outcome: the driver's result; None if there was nothing to recover
    :param was_failed: the instance was in ERROR because of its rescue
    """
    if outcome is not None:
        return Answer[outcome.name]
    return Answer.ERROR_ENDED if was_failed else Answer.CANCELED
