# SPDX-License-Identifier: Apache-2.0
"""Functions run in a few threads that do not delay the exit of the process."""

import subprocess
import sys
import threading

from oslotest import base

from stable_rescue.workers import Workers

TIMEOUT = 60  # seconds

_HANG = """
import threading
from stable_rescue.workers import Workers
started = threading.Event()
workers = Workers(lambda: 1, "w")
workers.submit(lambda: (started.set(), threading.Event().wait())[0])
workers.submit(lambda: print("the backlog runs"))
started.wait()
"""


class WorkersTest(base.BaseTestCase):
    def test_no_more_functions_run_than_the_limit(self) -> None:
        workers, lock = Workers(lambda: 2, "w"), threading.Lock()
        running, most = set(), []
        both = threading.Barrier(2, timeout=TIMEOUT)

        def run(number: int) -> None:
            with lock:
                running.add(number)
                most.append(len(running))
            both.wait()
            with lock:
                running.discard(number)

        futures = [workers.submit(lambda n=n: run(n)) for n in range(6)]
        for future in futures:
            future.result(TIMEOUT)
        self.assertEqual(2, max(most))

    def test_error_is_in_the_future_and_the_next_function_runs(self) -> None:
        workers = Workers(lambda: 1, "w")
        failed = workers.submit(lambda: 1 // 0)
        self.assertIsNone(workers.submit(lambda: None).result(TIMEOUT))
        self.assertRaises(ZeroDivisionError, failed.result, TIMEOUT)

    def test_function_submitted_after_a_pause_runs(self) -> None:
        workers = Workers(lambda: 1, "w")
        for _ in range(3):
            self.assertIsNone(workers.submit(lambda: None).result(TIMEOUT))

    def test_hanging_function_does_not_delay_the_exit(self) -> None:
        done = subprocess.run(
            [sys.executable, "-c", _HANG],
            capture_output=True,
            text=True,
            check=True,
            timeout=TIMEOUT,
        )
        self.assertEqual("", done.stdout)
