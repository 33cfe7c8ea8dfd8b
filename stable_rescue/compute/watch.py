# SPDX-License-Identifier: Apache-2.0
"""Which instances this process works on, and which have stalled."""

import collections
import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator


class Watch:
    """Records what this process works on, and since when other instances wait."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._workers: collections.Counter[str] = collections.Counter()
        self._waiting_since: dict[str, float] = {}
        self._last_due = -float("inf")

    @contextlib.contextmanager
    def working_on(self, uuid: str) -> Iterator[None]:
        """Mark an instance as being worked on, for the length of the block."""
        with self._lock:
            self._workers[uuid] += 1
            self._waiting_since.pop(uuid, None)
        try:
            yield
        finally:
            with self._lock:
                self._workers[uuid] -= 1
                if not self._workers[uuid]:
                    del self._workers[uuid]

    def is_worked_on(self, uuid: str) -> bool:
        """Return True if this process works on an instance."""
        with self._lock:
            return uuid in self._workers

    def is_due(self, seconds: float) -> bool:
        """Return True at most once every ``seconds``."""
        if self._clock() - self._last_due < seconds:
            return False
        self._last_due = self._clock()
        return True

    def stalled(self, in_task: Iterable[str], seconds: float) -> frozenset[str]:
        """Return the instances that nobody has worked on for that many seconds.

        An instance is returned once, and again only after the same time.

        :param in_task: the UUIDs of all instances that are in a task now
        """
        now = self._clock()
        with self._lock:
            waiting = {
                uuid: self._waiting_since.get(uuid, now)
                for uuid in in_task
                if uuid not in self._workers
            }
            stalled = {u for u, since in waiting.items() if now - since >= seconds}
            # The time starts anew for an instance that is returned or leaves its task.
            self._waiting_since = {
                uuid: since for uuid, since in waiting.items() if uuid not in stalled
            }
            return frozenset(stalled)
