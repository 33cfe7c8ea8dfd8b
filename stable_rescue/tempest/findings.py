# SPDX-License-Identifier: Apache-2.0
"""The faults of stock rescue that the tests find, by their number."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from tempest.lib import decorators

Test = TypeVar("Test", bound=Callable[..., object])

#: doc/source/contributor/nova-differences.rst defines the numbers.
FINDINGS = {
    "U1": "devices move in rescue: the rescue definition has no recorded addresses",
    "U2": "devices move in rescue: earlier hotplugs are lost",
    "U3": "the config drive does not have the adminPass that the API returned",
    "U7": "the server is powered off before any check; a failure leaves it in ERROR",
    "U10": "a bus that the server's machine type does not support is not refused",
    "U12": "the rescue image's status and min_disk are ignored",
    "U18": "a server that was stopped before the rescue runs after unrescue",
    "U32": "the original system boots although the server is in RESCUE",
    "U33": "a rescue from USB takes minutes to boot",
}
_NUMBER = re.compile(r"\bU\d+\b")


def finds(*numbers: str) -> Callable[[Test], Test]:
    """Return a decorator for a test that fails if the driver has one of the faults.

    The numbers become attributes of the test and so part of the test's id. ``tempest
    run --regex U10`` selects by them, and ``found_by`` reads them from a report.

    :raises ValueError: if a number is not in ``FINDINGS``
    """
    for number in numbers:
        if number not in FINDINGS:
            raise ValueError(f"{number} is not in FINDINGS")
    decorator: Callable[[Test], Test] = decorators.attr(type=list(numbers))
    return decorator


def found_by(test_id: str) -> list[str]:
    """Return the numbers of the faults that a test finds, from the test's id."""
    return [number for number in _NUMBER.findall(test_id) if number in FINDINGS]
