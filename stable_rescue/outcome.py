# SPDX-License-Identifier: Apache-2.0
"""How the recovery of an interrupted rescue, or a request of an operator, can end."""

import enum


class Outcome(enum.Enum):
    """The state of a server after its recovery."""

    #: The guest had not been touched yet.
    UNTOUCHED = enum.auto()
    #: The server has its original definition, in the power state it had before.
    RESTORED = enum.auto()
    #: The rescue system runs.
    RESCUED = enum.auto()


class Answer(enum.StrEnum):
    """What nova-compute has done with an instance that it was to recover.

    In a dry run, it is what nova-compute would do.
    """

    #: As the Outcome of the same name.
    UNTOUCHED = "untouched"
    RESTORED = "restored"
    RESCUED = "rescued"
    #: The task was canceled; nothing of a rescue was there.
    CANCELED = "canceled"
    #: The leftovers of an ended rescue were removed.
    CLEANED_UP = "cleaned-up"
    #: The ERROR of an earlier rescue has ended.
    ERROR_ENDED = "error-ended"
    #: There was nothing to recover.
    NOTHING = "nothing"
    #: The guest has its rescue definition, but Nova has ended the rescue.
    STILL_DEFINED = "still-defined"
    #: The instance is in ERROR, but not because of its rescue.
    OTHER_ERROR = "other-error"
    #: Another operation works on the instance.
    BUSY = "busy"
    #: The instance is in the task of another operation.
    OTHER_TASK = "other-task"
    #: Nova has no such instance.
    UNKNOWN = "unknown"
    #: The instance is on another host.
    ELSEWHERE = "elsewhere"
    #: Another request has changed the instance meanwhile.
    CONFLICT = "conflict"
    #: In a dry run: there is something to recover, and no more is known.
    INTERRUPTED = "interrupted"
    #: The recovery failed; the log has the reason.
    FAILED = "failed"


class PlanAnswer(enum.StrEnum):
    """What nova-compute answers if it is asked for the plan of a rescue."""

    #: The details are the plan.
    PLANNED = "planned"
    #: The rescue would be refused; the details have the reason.
    REFUSED = "refused"
    #: A plan cannot be made; the details have the reason.
    NOT_PLANNED = "not-planned"
    #: As the Answer of the same name.
    BUSY = Answer.BUSY.value
    UNKNOWN = Answer.UNKNOWN.value
    ELSEWHERE = Answer.ELSEWHERE.value
    FAILED = Answer.FAILED.value
