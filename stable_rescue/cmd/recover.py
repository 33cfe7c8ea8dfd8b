# SPDX-License-Identifier: Apache-2.0
"""stable-rescue recover: have nova-compute recover a server now, or foresee that.

Only the running nova-compute may act, because it alone can hold the lock that guards a
server's rescue. The command asks it and waits.
"""

import argparse
import time
from typing import Any

from stable_rescue.cmd import formats, rescues
from stable_rescue.cmd.exits import (
    NOT_ALL,
    NOT_FOUND,
    SUCCESS,
    UNAVAILABLE,
    CommandError,
    Output,
)
from stable_rescue.outcome import Answer
from stable_rescue.storage import requests
from stable_rescue.storage.requests import Question

_COLUMNS = ("server", "result", "details")
_POLL_SECONDS = 0.1

# The texts for what was done and for what a recovery would do. The status is 0.
_DONE = {
    Answer.UNTOUCHED: (
        "the rescue had not touched the guest, and was discarded",
        "the rescue has not touched the guest, and would be discarded",
    ),
    Answer.RESTORED: (
        "the server has its original definition and power state again",
        "the server would get its original definition and power state back",
    ),
    Answer.RESCUED: (
        "the server is rescued, and its rescue system runs",
        "the server would be rescued, and its rescue system started if it is off",
    ),
    Answer.CANCELED: (
        "nothing was done for the task yet, and the task was canceled",
        "nothing was done for the task yet, and the task would be canceled",
    ),
    Answer.CLEANED_UP: (
        "what an earlier rescue left was removed",
        "what an earlier rescue left would be removed",
    ),
    Answer.ERROR_ENDED: (
        "the server was restored earlier, and its ERROR has ended",
        "the server was restored earlier, and its ERROR would end",
    ),
    Answer.INTERRUPTED: (
        "the interrupted rescue was recovered",
        "the interrupted rescue would be recovered",
    ),
    Answer.NOTHING: ("there is nothing to recover",) * 2,
}
# The reasons why the server is not recovered, or would not be. The status is 3.
_NOT_DONE = {
    Answer.STILL_DEFINED: "the guest has its rescue definition, but Nova does not have "
    "the server as rescued; hard reboot the server",
    Answer.OTHER_ERROR: "the server was not set to ERROR because of its rescue, so "
    "recovery leaves it; set its state to active and hard reboot it",
    Answer.BUSY: "another operation works on the server; try again, or look for what "
    "hangs in the report of nova-compute (kill -USR2), under Rescues under way",
    Answer.OTHER_TASK: "the server is in the task of another operation, such as a "
    "deletion or a migration",
    Answer.CONFLICT: "another request has changed the server meanwhile; look at the "
    "server, and try again",
    Answer.FAILED: "an error occurred; the log of nova-compute has the reason",
}
_ELSEWHERE = {
    Answer.UNKNOWN: "Nova has no server {} that is not deleted",
    Answer.ELSEWHERE: "server {} is on another host; run the command there",
}


def run(options: argparse.Namespace, connection: Any) -> Output:
    """Return what nova-compute did with a server, or would do.

    Errors of libvirt propagate.

    :raises CommandError: if this is not the server's host, or nova-compute does not
        answer in time
    :raises OSError: if nova-compute cannot be asked
    """
    uuid = rescues.uuid_of(connection, options.server)
    asked = requests.DRY_RUN if options.dry_run else requests.RECOVER
    with Question.ask(uuid, asked) as question:
        result = _wait(question, options.timeout)
    if result in _ELSEWHERE:
        raise CommandError(NOT_FOUND, _ELSEWHERE[Answer(result)].format(uuid))
    if result in _DONE:
        details, status = _DONE[Answer(result)][options.dry_run], SUCCESS
    elif result in _NOT_DONE:
        details, status = _NOT_DONE[Answer(result)], NOT_ALL
    elif result == requests.RESTARTED:
        raise CommandError(
            UNAVAILABLE,
            "nova-compute was started anew while it worked on this, and recovers "
            "interrupted rescues at its start; run the command again",
        )
    else:
        raise CommandError(
            UNAVAILABLE,
            f"nova-compute of another version answers {result}; restart nova-compute",
        )
    row: formats.Row = {"server": uuid, "result": result, "details": details}
    return Output(formats.of_rows(options.format, "results", _COLUMNS, [row]), status)


def _wait(question: Question, seconds: float) -> str:
    """Wait for nova-compute's answer and return it.

    :raises CommandError: if there is none in time
    """
    deadline = time.monotonic() + seconds
    while True:
        state = question.state()
        if state is None:
            raise CommandError(UNAVAILABLE, "somebody has removed the request")
        is_over = time.monotonic() >= deadline
        if state == question.request.asked:
            if is_over and question.withdraw():
                raise CommandError(
                    UNAVAILABLE,
                    f"nova-compute did not take the request within {seconds} seconds, "
                    "so the request is withdrawn, and nothing was done. nova-compute "
                    "looks for requests every 10 seconds if it runs with "
                    "StableRescueDriver of this version. The start of nova-compute "
                    "recovers interrupted rescues as well",
                )
        elif state != requests.TAKEN:
            return state
        elif is_over:
            raise CommandError(
                UNAVAILABLE,
                f"nova-compute has taken the request, but no result after {seconds} "
                "seconds. While nova-compute runs, the recovery goes on, and the log "
                "has the result; otherwise, the next start recovers the server",
            )
        time.sleep(_POLL_SECONDS)
