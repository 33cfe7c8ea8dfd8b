# SPDX-License-Identifier: Apache-2.0
"""Threads that wait for work are woken by it, instead of looking for it all the time.

Nova's tests make each idle thread of a pool look for work a hundred times a second, so
that the thread notices soon that its pool has ended. A test has some twenty of them,
which take a tenth of a processor.
"""

import contextlib
import queue
import threading
import time
from types import SimpleNamespace
from typing import Any

from futurist import _thread
from oslo_messaging._drivers import impl_fake

#: How long, in seconds, an idle thread sleeps that nothing wakes.
LONGEST_SLEEP = 1


def wake_by_work() -> None:
    """Let futurist's pools, and the fake transport's listeners, sleep until work."""
    _wake_workers()
    _wake_listeners()


class _Nothing:
    """A work item that does nothing, for a thread that is to end."""

    def run(self) -> None:
        """Do nothing."""


def _wake_workers() -> None:
    worker_class = _thread.ThreadWorker
    stop = worker_class.stop

    def wait_for_work(worker: Any) -> Any:
        worker.idle = True
        while not worker._is_dying():
            with contextlib.suppress(queue.Empty):
                work = worker.work_queue.get(timeout=LONGEST_SLEEP)
                worker.idle = False
                return work
        raise _thread._Stopping

    def stop_and_wake(worker: Any) -> None:
        stop(worker)
        worker.work_queue.put(_Nothing())

    worker_class._wait_for_work = wait_for_work
    worker_class.stop = stop_and_wake


def _wake_listeners() -> None:
    delivered = threading.Condition()
    deliver = impl_fake.FakeExchange.deliver_message

    def deliver_and_wake(exchange: Any, *args: Any, **options: Any) -> None:
        deliver(exchange, *args, **options)
        with delivered:
            delivered.notify_all()

    def sleep(seconds: float) -> None:
        with delivered:
            delivered.wait(seconds)

    impl_fake.FakeExchange.deliver_message = deliver_and_wake
    impl_fake.time = SimpleNamespace(time=time.time, sleep=sleep)
