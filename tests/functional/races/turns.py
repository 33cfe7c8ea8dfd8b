# SPDX-License-Identifier: Apache-2.0
"""Two threads of which one runs at a time, so that each race always goes the same way.

The turn passes to the other thread at the point where the two operations meet, when a
thread has to wait for an instance's lock, when it releases a lock for which the other
one waits, and when it ends. Nothing depends on the speed of the machine.
"""

import threading
from collections.abc import Callable
from typing import Any

import fixtures
from oslo_concurrency import lockutils

from stable_rescue.virt.phase import wait_for_events

FIRST, SECOND = 0, 1
TIMEOUT = 120  # seconds


class Turns:
    """Runs two operations, each in a thread, and passes the turn between them.

    A thread that an operation starts, such as a worker of recovery, has the turn with
    it: while the turn is the other's, nothing of it runs.
    """

    def __init__(self) -> None:
        self.turn = FIRST
        #: The operations that have waited for a lock.
        self.waited: set[int] = set()
        self._changed = threading.Condition()
        self._running: set[int] = set()
        self._errors: list[BaseException] = []

    def run(self, first: Callable[[], Any], second: Callable[[], Any]) -> None:
        """Run both operations until they have ended; their errors propagate."""
        threads = []
        for number, operation in ((FIRST, first), (SECOND, second)):
            self._running.add(number)
            threads.append(
                threading.Thread(
                    target=self._run, args=(number, operation), daemon=True
                )
            )
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(3 * TIMEOUT)
        if any(thread.is_alive() for thread in threads):
            raise AssertionError("the two operations block each other")
        for error in self._errors:
            raise error

    def pass_on(self) -> None:
        """Let the other operation run, until it passes the turn back."""
        if not self.is_other_running():
            return
        me = self.turn
        # They are written in a thread of nova-compute, for the one that has the turn.
        wait_for_events()
        self._give(1 - me)
        self._wait_for(me)

    def is_other_running(self) -> bool:
        """Return True if the operation that has not got the turn has not ended."""
        return 1 - self.turn in self._running

    def _run(self, number: int, operation: Callable[[], Any]) -> None:
        try:
            self._wait_for(number)
            operation()
            wait_for_events()
        except BaseException as error:  # noqa: BLE001 - run() raises it
            self._errors.append(error)
        self._running.discard(number)
        self._give(1 - number)

    def _give(self, number: int) -> None:
        with self._changed:
            self.turn = number
            self._changed.notify_all()

    def _wait_for(self, number: int) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self.turn == number, TIMEOUT):
                raise AssertionError("the other operation does not end")


class Lock:
    """An instance's lock, which belongs to an operation instead of a thread."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._waiting: set[int] = set()
        self.owner: int | None = None
        #: How often the first operation has taken it.
        self.taken = 0

    def acquire(self, blocking: bool = True) -> bool:
        """Take the lock; pass the turn on while it is the other operation's."""
        me = self._turns.turn
        if self.owner == me:
            raise AssertionError("the lock is not re-entrant")
        if self.owner is not None and not blocking:
            return False
        while self.owner is not None:
            if not self._turns.is_other_running():
                raise AssertionError("an operation has ended with the lock")
            self._waiting.add(me)
            self._turns.waited.add(me)
            self._turns.pass_on()
            self._waiting.discard(me)
        self.owner = me
        self.taken += me == FIRST
        return True

    def release(self) -> None:
        """Release the lock, and let the other operation run if it waits for it."""
        self.owner = None
        if self._waiting:
            self._turns.pass_on()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_exception: object) -> None:
        self.release()


class LockFixture(fixtures.Fixture):
    """Replaces the lock of one instance; all other locks are as they were."""

    def __init__(self, uuid: str) -> None:
        super().__init__()
        self._uuid = uuid
        self.renew()

    def renew(self) -> Turns:
        """Return the turns of two new operations, and make their lock."""
        turns = Turns()
        self.lock = Lock(turns)
        return turns

    def _setUp(self) -> None:
        get = lockutils.Semaphores.get
        self.useFixture(
            fixtures.MonkeyPatch(
                "oslo_concurrency.lockutils.Semaphores.get",
                lambda semaphores, name: (
                    self.lock if name == self._uuid else get(semaphores, name)
                ),
            )
        )
