# SPDX-License-Identifier: Apache-2.0
"""A stub of nova-compute that answers the requests of commands."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from stable_rescue.storage import requests
from stable_rescue.storage.requests import Question, Request


@contextlib.contextmanager
def nova_compute(react: Callable[[Request], object]) -> Iterator[list[str]]:
    """React to requests whenever a command looks for its answer.

    Yield what was asked for: the kind of the request and the server's UUID.
    """
    asked: list[str] = []
    state = Question.state

    def react_first(question: Question) -> str | None:
        for request in requests.waiting():
            asked.append(f"{request.asked} {request.instance_uuid}")
            react(request)
        return state(question)

    with mock.patch.object(Question, "state", react_first):
        yield asked


def answer(
    result: str, details: dict[str, Any] | None = None
) -> Callable[[Request], None]:
    """Return a reaction that takes a request and answers it."""

    def react(request: Request) -> None:
        if requests.take(request):
            requests.answer(request, result, details)

    return react
