# SPDX-License-Identifier: Apache-2.0
"""Run stestr with known times, and fail if it has not run each test that it has listed.

    python -m tests.runner [ARGUMENTS OF STESTR]

stestr does not notice that a worker has ended between two tests: it reports success
without the tests that this worker still had to run.

tests/seconds.py has the times by which the tests are shared among the workers.
"""

import os
import sys
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from stestr import cli, test_processor

from tests import seconds
from tests.preloaded import Preloaded


class Runs:
    """What stestr has listed and run in this process."""

    def __init__(self) -> None:
        self._listed: set[str] = set()
        self._repository: Any = None
        self._earlier: set[str] = set()

    def begin(self, listed: list[str], repository: Any) -> None:
        """Note the tests of a run that begins, and the repository of its results."""
        self._listed.update(listed)
        if self._repository is None:
            self._repository = repository
            self._earlier = {*repository.get_run_ids()}

    def missing(self) -> list[str]:
        """Return the tests that were listed and have no result, not even a failure."""
        if self._repository is None:
            return []
        # With --combine, the results are added to the latest run.
        latest = str(self._repository.latest_id())
        new = {latest} | ({*self._repository.get_run_ids()} - self._earlier)
        results = (self._repository.get_test_ids(run) for run in new)
        return sorted(self._listed.difference(*results))


def known_times(repository: Any) -> AbstractContextManager[Any]:
    """Have a repository return the times of tests/seconds.py while it is entered."""

    def get_test_times(test_ids: list[str]) -> dict[str, Any]:
        return {"known": seconds.of_tests(test_ids), "unknown": set()}

    return mock.patch.object(repository, "get_test_times", get_test_times)


def main(arguments: list[str]) -> int:
    """Run stestr; return its status, or 1 if a test is missing."""
    runs = Runs()
    preloaded = Preloaded()

    class Processor(test_processor.TestProcessorFixture):
        def _start_process(self, cmd: str) -> Any:
            if "PYTHON" in os.environ:
                # That program is a measurement or a replacement of Python.
                return super()._start_process(cmd)
            return preloaded.start(cmd)

        def run_tests(self) -> Any:
            if self.test_ids is None:
                # A single worker runs whatever it finds, without a list.
                self.test_ids = self.list_tests()
            runs.begin(self.test_ids, self.repository)
            with known_times(self.repository):
                return super().run_tests()

    with mock.patch.object(test_processor, "TestProcessorFixture", Processor):
        status = cli.main(arguments)
    if missing := runs.missing():
        print(f"{len(missing)} tests were not run:", *missing, sep="\n    ")
    return status or (1 if missing else 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
