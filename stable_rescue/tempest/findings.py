# SPDX-License-Identifier: Apache-2.0
"""What Nova's own rescue does badly, by number, and which tests find it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from tempest.lib import decorators

Test = TypeVar("Test", bound=Callable[..., object])

#: What a test that fails has found; the numbers are those of tests/nova, too.
FINDINGS = {
    "U1": "devices move in rescue: the definition is built anew, without addresses",
    "U2": "devices move in rescue: what was hot-plugged before loses its place",
    "U3": "the adminPass of the answer is not the one in the config drive",
    "U7": "the server is powered off before anything is checked: ERROR, no way back",
    "U10": "a bus that the server's machine type cannot carry is not refused",
    "U12": "the rescue image's status and min_disk are ignored",
    "U18": "a server that was stopped runs after unrescue",
    "U32": "the original system boots, and the server is said to be in rescue",
    "U33": "a rescue from USB takes minutes to boot",
}
_NUMBER = re.compile(r"\bU\d+\b")


def finds(*numbers: str) -> Callable[[Test], Test]:
    """Return a decorator for a test that fails where a driver has these faults.

    They become attributes of the test and thus part of its id: tempest selects by
    them (``--regex U10``), and a report of a run tells them.

    :raises ValueError: where a number is not in ``FINDINGS``
    """
    for number in numbers:
        if number not in FINDINGS:
            raise ValueError(number)
    mark: Callable[[Test], Test] = decorators.attr(type=list(numbers))
    return mark


def found_by(test_id: str) -> list[str]:
    """Return the numbers in the id of a test, as a run reports it."""
    return [number for number in _NUMBER.findall(test_id) if number in FINDINGS]
