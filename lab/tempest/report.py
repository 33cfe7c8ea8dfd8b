# SPDX-License-Identifier: Apache-2.0
"""Prints the results of the runs of tempest.

Arguments: the driver, then the subunit stream of each run. The exit status is 1 if a
test failed. This runs with the virtual environment's Python.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import subunit
from testtools import StreamToDict

from stable_rescue.tempest.findings import FINDINGS, found_by

#: The statuses in a subunit stream.
PASSED, FAILED, SKIPPED = ("success", "xfail"), ("fail", "uxsuccess"), ("skip",)
REASON_CHARACTERS = 200
_CLASS = re.compile(r"^(?:setUp|tearDown)Class \((.*)\)$")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How one test ended in one run."""

    run: str
    test: str
    status: str
    reason: str  # of a skip or a failure, in one line
    seconds: float

    @property
    def of_plugin(self) -> bool:
        """True for a test of this project's plugin, False for one of tempest."""
        return "stable_rescue." in self.test

    @property
    def name(self) -> str:
        """Class and test without package and attributes, or only the class.

        The outcome of setUpClass has only a class.
        """
        if match := _CLASS.search(self.test):
            return match[1].rpartition(".")[2]
        return ".".join(self.test.partition("[")[0].split(".")[-2:])


def read(path: Path) -> list[Outcome]:
    """Return the outcomes in a file with a subunit stream."""
    outcomes: list[Outcome] = []

    def add(test: dict[str, Any]) -> None:
        if test["status"] in ("exists", "inprogress"):
            return
        details = test["details"]
        reason = details["reason"].as_text() if "reason" in details else ""
        if "traceback" in details:
            reason = error_of(details["traceback"].as_text())
        begin, end = test["timestamps"][0], test["timestamps"][-1]
        seconds = (end - begin).total_seconds() if begin and end else 0.0
        run = path.parent.name.rpartition("-")[2]
        outcomes.append(
            Outcome(run, test["id"], test["status"], reason.strip(), seconds)
        )

    result = StreamToDict(add)
    result.startTestRun()
    with path.open("rb") as stream:
        subunit.ByteStreamToStreamResult(stream, non_subunit_name="output").run(result)
    result.stopTestRun()
    return [outcome for outcome in outcomes if outcome.test != "output"]


def error_of(traceback: str) -> str:
    """Return the line of a traceback that has the error, without indented details."""
    unindented = [line for line in traceback.splitlines() if line and line[0] != " "]
    return unindented[-1] if unindented else ""


def counts(outcomes: Iterable[Outcome]) -> str:
    """Return how many tests passed, failed and were skipped."""
    numbers = Counter(outcome.status for outcome in outcomes)
    return ", ".join(
        f"{sum(numbers[status] for status in statuses)} {word}"
        for word, statuses in (
            ("passed", PASSED),
            ("failed", FAILED),
            ("skipped", SKIPPED),
        )
    )


def lines(outcomes: list[Outcome]) -> Iterator[str]:
    """Yield the report: counts, failures with the faults that they find, and skips."""
    for run in dict.fromkeys(outcome.run for outcome in outcomes):
        for suite, of_plugin in (("stable_rescue", True), ("tempest", False)):
            some = [o for o in outcomes if o.run == run and o.of_plugin == of_plugin]
            if some:
                seconds = sum(outcome.seconds for outcome in some)
                yield f"{run:<4} {suite:<14} {counts(some)} in {seconds:.0f} s of tests"
    failures = [outcome for outcome in outcomes if outcome.status in FAILED]
    for failure in failures:
        numbers = " ".join(found_by(failure.test)) or "-"
        reason = failure.reason[:REASON_CHARACTERS]
        yield f"FAILED {failure.run} {failure.name} (finds {numbers}): {reason}"
    numbers_found = {one for failure in failures for one in found_by(failure.test)}
    for number in (number for number in FINDINGS if number in numbers_found):
        yield f"{number}: {FINDINGS[number]}"
    yield from _never_run(outcomes)


def _never_run(outcomes: list[Outcome]) -> Iterator[str]:
    """Yield the tests that were skipped in every run, with the reason."""
    ran = {o.name for o in outcomes if o.status not in SKIPPED}
    ran |= {name.partition(".")[0] for name in ran}
    never = {o.name: o.reason for o in outcomes if o.name not in ran}
    for name, reason in sorted(never.items()):
        yield f"skipped in every run: {name}: {reason}"


def main(words: list[str]) -> int:
    """Print the report; return 1 if a test failed, 0 if none did."""
    driver, *paths = words
    outcomes = [outcome for path in paths for outcome in read(Path(path))]
    print(f"\n{driver}: {counts(outcomes)}")
    for line in lines(outcomes):
        print(line)
    sys.stdout.flush()
    return 1 if any(outcome.status in FAILED for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
