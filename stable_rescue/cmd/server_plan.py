# SPDX-License-Identifier: Apache-2.0
"""stable-rescue plan SERVER: have nova-compute plan a rescue, with all its checks.

Only nova-compute has what the checks need: its user's access to libvirt, images and
volumes, and its credentials for Glance and Cinder. The command asks it and waits.
"""

import argparse
from typing import Any

from stable_rescue import exception
from stable_rescue.cmd import asking, on_host, rescues
from stable_rescue.cmd.exits import NOT_FOUND, UNAVAILABLE, CommandError
from stable_rescue.cmd.recover import ELSEWHERE
from stable_rescue.domain.document import Domain
from stable_rescue.domain.edits import Edit
from stable_rescue.outcome import Answer, PlanAnswer
from stable_rescue.plan import RescuePlan
from stable_rescue.storage import requests
from stable_rescue.storage.requests import Question

_TEXTS = asking.Texts(
    not_taken="",
    unfinished="Nothing is changed. What hangs is in the report of nova-compute (kill "
    "-USR2), under Rescues under way",
    restarted="nova-compute was started anew while it planned the rescue; run the "
    "command again",
)
_WITH_DETAILS = (PlanAnswer.PLANNED, PlanAnswer.REFUSED, PlanAnswer.NOT_PLANNED)
_UNAVAILABLE = {
    PlanAnswer.BUSY: "another operation works on the server; try again",
    PlanAnswer.FAILED: "nova-compute could not make the plan; its log has the reason",
}


def run(options: argparse.Namespace, connection: Any) -> RescuePlan:
    """Return the plan that nova-compute makes for a server.

    Errors of libvirt propagate.

    :raises Refused: if the rescue would be refused, with the reason
    :raises CommandError: if this is not the server's host, if there cannot be a plan,
        or if nova-compute does not answer in time
    :raises OSError: if nova-compute cannot be asked
    """
    uuid = rescues.uuid_of(connection, options.server)
    details = {
        "image": options.image,
        "properties": dict(options.properties),
        "secrets": options.security_info,
    }
    with Question.ask(uuid, requests.PLAN, details) as question:
        result = asking.wait(question, options.timeout or on_host.TIMEOUT, _TEXTS)
        answer = question.details() if result in _WITH_DETAILS else {}
    match result:
        case PlanAnswer.PLANNED:
            return _plan_of(answer)
        case PlanAnswer.REFUSED:
            cause = f" ({answer['cause']})" if answer["cause"] else ""
            raise exception.Refused(f"{answer['reason']}{cause}")
        case PlanAnswer.NOT_PLANNED:
            raise CommandError(NOT_FOUND, f"no plan: {answer['reason']}")
        case PlanAnswer.UNKNOWN | PlanAnswer.ELSEWHERE:
            raise CommandError(NOT_FOUND, ELSEWHERE[Answer(result)].format(uuid))
        case PlanAnswer.BUSY | PlanAnswer.FAILED:
            raise CommandError(UNAVAILABLE, _UNAVAILABLE[PlanAnswer(result)])
    raise asking.unknown_answer(result)


def _plan_of(answer: dict[str, Any]) -> RescuePlan:
    """Return the plan whose plain values nova-compute has answered."""
    return RescuePlan(
        answer["device"],
        answer["bus"],
        Domain.parse(answer["original"]),
        Domain.parse(answer["rescue"]),
        tuple(Edit(**edit) for edit in answer["edits"]),
        tuple(answer["findings"]),
    )
