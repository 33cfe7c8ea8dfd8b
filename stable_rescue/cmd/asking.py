# SPDX-License-Identifier: Apache-2.0
"""Ask the running nova-compute of this host, and wait for its answer."""

import time
from dataclasses import dataclass

from stable_rescue.cmd.exits import UNAVAILABLE, CommandError
from stable_rescue.storage import requests
from stable_rescue.storage.requests import Question

_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Texts:
    """What a command says if it gets no answer.

    ``not_taken`` follows if nova-compute did not take the request, ``unfinished`` if it
    has no result yet. ``restarted`` is the whole message if nova-compute was restarted.
    """

    not_taken: str
    unfinished: str
    restarted: str


def wait(question: Question, seconds: float, texts: Texts) -> str:
    """Wait for nova-compute's answer and return it.

    :raises CommandError: if there is none in time, or nova-compute was restarted
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
                    f"StableRescueDriver of this version. {texts.not_taken}".rstrip(),
                )
        elif state == requests.RESTARTED:
            raise CommandError(UNAVAILABLE, texts.restarted)
        elif state != requests.TAKEN:
            return state
        elif is_over:
            raise CommandError(
                UNAVAILABLE,
                f"nova-compute has taken the request, but no result after {seconds} "
                f"seconds. {texts.unfinished}",
            )
        time.sleep(_POLL_SECONDS)


def unknown_answer(answer: str) -> CommandError:
    """Return the error of a command that does not know nova-compute's answer."""
    return CommandError(
        UNAVAILABLE,
        f"nova-compute of another version answers {answer}; restart nova-compute",
    )
