# SPDX-License-Identifier: Apache-2.0
"""A pool of threads that does not delay the exit of nova-compute."""

import collections
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

R = TypeVar("R")


class Workers:
    """Runs functions in a few threads, in the order of their submission.

    Python waits at its exit for the threads of a ThreadPoolExecutor and for all that is
    queued, so one recovery that hangs would block the stop of nova-compute. These
    threads are daemons, and the next start finishes a recovery that they did not.

    :param limit: returns how many functions may run at the same time
    :param name: the threads' name
    """

    def __init__(self, limit: Callable[[], int], name: str) -> None:
        self._limit = limit
        self._name = name
        self._lock = threading.Lock()
        self._threads = 0
        self._queue: collections.deque[tuple[Future[Any], Callable[[], Any]]] = (
            collections.deque()
        )

    def submit(self, function: Callable[[], R]) -> "Future[R]":
        """Run a function as soon as a thread is free; the future has its result."""
        future: Future[R] = Future()
        with self._lock:
            self._queue.append((future, function))
            if self._threads >= self._limit():
                return future
            self._threads += 1
        threading.Thread(target=self._work, name=self._name, daemon=True).start()
        return future

    def _work(self) -> None:
        while (item := self._next()) is not None:
            future, function = item
            try:
                future.set_result(function())
            except BaseException as exc:  # noqa: BLE001 - the future has it
                future.set_exception(exc)

    def _next(self) -> Any:
        """Return the next function with its future; None ends the thread."""
        with self._lock:
            if self._queue:
                return self._queue.popleft()
            self._threads -= 1
            return None
