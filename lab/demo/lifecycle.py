# SPDX-License-Identifier: Apache-2.0
"""How long a guest was off, from libvirt's lifecycle events."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from lab.servers.api import poll
from lab.servers.events import STARTED, STOPPED, Event, Events, listening

_SECONDS = 60.0


class Downtimes:
    """The downtimes of one domain since the listener was started."""

    def __init__(self, events: Events, domain: str) -> None:
        self._events = events
        self._domain = domain
        self._taken = 0

    def next(self) -> float:
        """Wait for the end of the next downtime; return its seconds.

        :raises LabError: if the guest does not start again
        """
        known = self._taken
        found = poll(
            "the guest's next start",
            lambda: between(self._events.of(self._domain))[known:] or None,
            _SECONDS,
        )
        self._taken += 1
        return found[0]


@contextlib.contextmanager
def downtimes(domain: str) -> Iterator[Downtimes]:
    """Listen to the lifecycle events of a domain during the block."""
    with listening() as events:
        yield Downtimes(events, domain)


def between(events: Iterable[Event]) -> list[float]:
    """Return the seconds from each stop to the start that follows it."""
    stopped: float | None = None
    seconds = []
    for event in events:
        if event.name == STOPPED:
            stopped = stopped or event.seconds
        elif event.name == STARTED and stopped is not None:
            seconds.append(event.seconds - stopped)
            stopped = None
    return seconds
