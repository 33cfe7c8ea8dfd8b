# SPDX-License-Identifier: Apache-2.0
"""Notices the servers that are in a task which nobody is at work on."""

import collections
import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator


class Watch:
    """Knows which instances this process is at work on, and since when others wait."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._busy: collections.Counter[str] = collections.Counter()
        self._idle_since: dict[str, float] = {}
        self._looked = -float("inf")

    @contextlib.contextmanager
    def at_work(self, uuid: str) -> Iterator[None]:
        """Be at work on an instance."""
        with self._lock:
            self._busy[uuid] += 1
            self._idle_since.pop(uuid, None)
        try:
            yield
        finally:
            with self._lock:
                self._busy[uuid] -= 1
                if not self._busy[uuid]:
                    del self._busy[uuid]

    def is_due(self, seconds: float) -> bool:
        """Say whether it is so long ago that it was said so."""
        if self._clock() - self._looked < seconds:
            return False
        self._looked = self._clock()
        return True

    def abandoned(self, in_task: Iterable[str], seconds: float) -> frozenset[str]:
        """Return which of the instances nobody has been at work on for so long.

        Each is named once, and again only after as long a time.

        :param in_task: all the instances that are in a task now
        """
        now = self._clock()
        with self._lock:
            idle = {
                uuid: self._idle_since.get(uuid, now)
                for uuid in in_task
                if uuid not in self._busy
            }
            found = {uuid for uuid, since in idle.items() if now - since >= seconds}
            # What is not in a task any more, or is named now, begins anew.
            self._idle_since = {u: since for u, since in idle.items() if u not in found}
            return frozenset(found)
