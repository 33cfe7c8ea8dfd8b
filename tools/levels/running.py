# SPDX-License-Identifier: Apache-2.0
"""Running levels side by side."""

import concurrent.futures
import os
import re
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from levels import LIMITS, ROOT
from levels.processes import Processes, say
from levels.setup import (
    NotReadyError,
    Preparation,
    UnavailableError,
    environment,
    log_of,
    tox,
)

#: Tests at a time, per core: with 1, a third of the CPU time is idle.
WORKERS_PER_CORE = 1.5
#: How many levels run side by side at least. One alone leaves cores idle while it lists
#: its tests, and while its last tests run.
LEAST_LANES = 2
CORES_PER_LANE = 4
PROGRESS_SECONDS = 60
#: The variable that names the tmpfs, if it is not TMPDIR. The disks of guests have to
#: be on a real file system, so integration tests use the tmpfs for other files only.
TMPFS_VARIABLES = dict.fromkeys(
    ("integration", "integration-trixie"), "STABLE_RESCUE_MEMORY"
)
#: How each of stestr's totals is counted.
OUTCOMES = {
    "Passed": "passed",
    "Expected Fail": "passed",
    "Skipped": "skipped",
    "Failed": "failed",
    "Unexpected Success": "failed",
}
TOTAL = re.compile(rf"^ - ({'|'.join(OUTCOMES)}): (\d+)$")
TEST = re.compile(r"^\{\d+\} \S.* \.\.\. (ok|SKIPPED|FAILED)")
#: Lines that are printed even if the level passes.
REPORTED = re.compile(
    r"^(fault matrix: \d|model: \d|left this process running|ended after)"
)
#: What the keeper prints last. CPU time depends less on other load than the time does.
USED = re.compile(r"^used \d+ s of CPU time$")
#: Lines that are left out if the level fails: tests that pass, and warnings of pip.
HIDDEN = re.compile(r"^\{\d+\} .* \.\.\. (ok|SKIPPED)|^WARNING: Location ")


@dataclass(frozen=True)
class Share:
    """How many levels run side by side, and how many tests at a time each runs."""

    lanes: int
    workers: int

    @classmethod
    def of_cores(cls, cores: int, levels: int) -> "Share":
        """Return the share of each of some levels on a machine."""
        lanes = min(levels, max(LEAST_LANES, cores // CORES_PER_LANE))
        return cls(lanes, max(1, round(WORKERS_PER_CORE * cores / lanes)))


def summary(totals: Counter[str]) -> str:
    """Return the totals as text."""
    return ", ".join(
        f"{totals[name]} {name}" for name in ("passed", "failed", "skipped")
    )


class Runner:
    """Runs levels once they are prepared.

    :param folder: the tmpfs for the tests' files, or None
    """

    def __init__(
        self, preparation: Preparation, processes: Processes, folder: str | None
    ) -> None:
        self._preparation = preparation
        self._processes = processes
        self._folder = folder

    def run_all(self, levels: Sequence[str]) -> Counter[str]:
        """Run levels, started in this order; return the sum of their totals."""
        share = Share.of_cores(len(os.sched_getaffinity(0)), len(levels))
        # The processes of a level end with the thread that has started them, so a
        # thread runs levels until there are no more.
        with concurrent.futures.ThreadPoolExecutor(share.lanes) as pool:
            futures = [pool.submit(self.run, level, share.workers) for level in levels]
            try:
                totals = [future.result() for future in futures]
            finally:
                # After an interruption, threads wait for processes and preparation.
                pool.shutdown(wait=False, cancel_futures=True)
                self._processes.end()
                self._preparation.join()
        return sum(totals, Counter())

    def run(self, level: str, workers: int) -> Counter[str]:
        """Run a level, print its result and return its totals."""
        try:
            self._preparation.wait(level)
        except UnavailableError:
            say(f"{level}: skipped, because this Python is not available")
            return Counter(skipped=1)
        except NotReadyError as error:
            say(f"{level}: 1 failed, because it could not be prepared: {error}")
            return Counter(failed=1)
        say(f"{level}: starting")
        started = time.monotonic()
        process = self._processes.start(
            # What tox installs, the preparation has installed.
            tox("run", "-q", "--skip-pkg-install", "-e", level),
            self._environment(level, workers),
            ROOT,
            LIMITS[level],
        )
        totals, used = self._follow(level, process)
        if self._processes.wait(process) and not totals["failed"]:
            totals["failed"] += 1
        elif not totals:
            totals["passed"] += 1
        if totals["failed"]:
            self._print_failures(level)
        seconds = time.monotonic() - started
        say(f"{level}: {summary(totals)} in {seconds:.0f} s, {used}")
        return totals

    def _environment(self, level: str, workers: int) -> dict[str, str]:
        environ = environment()
        environ.setdefault("STABLE_RESCUE_WORKERS", str(workers))
        if self._folder:
            environ[TMPFS_VARIABLES.get(level, "TMPDIR")] = self._folder
        return environ

    def _follow(
        self, level: str, process: subprocess.Popen[str]
    ) -> tuple[Counter[str], str]:
        """Log a level's output and print its progress.

        :returns: the totals, and what the keeper has printed last
        """
        totals: Counter[str] = Counter()
        used = "without an end"
        seen: Counter[str] = Counter()
        printed = time.monotonic()
        assert process.stdout is not None
        with process.stdout as output, log_of(level).open("w") as log:
            for line in output:
                print(line, end="", file=log, flush=True)
                if match := TEST.match(line):
                    seen[match[1]] += 1
                    if match[1] == "FAILED":
                        say(f"{level}: {line.rstrip()}")
                elif match := TOTAL.match(line):
                    totals[OUTCOMES[match[1]]] += int(match[2])
                elif match := USED.match(line):
                    used = match[0]
                elif REPORTED.match(line):
                    say(f"{level}: {line.rstrip()}")
                if time.monotonic() - printed > PROGRESS_SECONDS:
                    printed = time.monotonic()
                    tests = f"{seen.total()} tests, {seen['FAILED']} failed"
                    say(f"{level}: {tests if seen else 'running'}")
        return totals, used

    @staticmethod
    def _print_failures(level: str) -> None:
        """Print what a failed level has printed, but for tests that pass."""
        with log_of(level).open(errors="replace") as log:
            for line in log:
                if not HIDDEN.match(line):
                    print(f"{level}: {line}", end="")
