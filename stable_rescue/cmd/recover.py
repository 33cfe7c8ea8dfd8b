# SPDX-License-Identifier: Apache-2.0
"""stable-rescue recover: have nova-compute recover a server now, or foresee that.

Only the running nova-compute may act, because it alone can hold the lock that guards a
server's rescue. The command asks it and waits.
"""

import argparse
from typing import Any

from stable_rescue.cmd import asking, formats, rescues
from stable_rescue.cmd.exits import NOT_ALL, NOT_FOUND, SUCCESS, CommandError, Output
from stable_rescue.outcome import Answer
from stable_rescue.storage import requests
from stable_rescue.storage.requests import Question

_COLUMNS = ("server", "result", "details")
_TEXTS = asking.Texts(
    not_taken="The start of nova-compute recovers interrupted rescues as well",
    unfinished="While nova-compute runs, the recovery goes on, and the log has the "
    "result; otherwise, the next start recovers the server",
    restarted="nova-compute was started anew while it worked on this, and recovers "
    "interrupted rescues at its start; run the command again",
)

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
#: The reasons why this host has no answer about a server. The status is 1.
ELSEWHERE = {
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
        result = asking.wait(question, options.timeout, _TEXTS)
    if result in ELSEWHERE:
        raise CommandError(NOT_FOUND, ELSEWHERE[Answer(result)].format(uuid))
    if result in _DONE:
        details, status = _DONE[Answer(result)][options.dry_run], SUCCESS
    elif result in _NOT_DONE:
        details, status = _NOT_DONE[Answer(result)], NOT_ALL
    else:
        raise asking.unknown_answer(result)
    row: formats.Row = {"server": uuid, "result": result, "details": details}
    return Output(formats.of_rows(options.format, "results", _COLUMNS, [row]), status)
