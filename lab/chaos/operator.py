# SPDX-License-Identifier: Apache-2.0
"""An operator who runs ``stable-rescue`` while servers are rescued and services die.

A *call* is one run of a command. The judge of a call looks at what the manual promises
(doc/source/cli.rst): the exit status, which stream has the output, and that no
traceback is printed. Whether the answer is right is up to chaos, which looks at the
host.
"""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.chaos.server import ChaosServer
from lab.config import Lab

#: The statuses that the manual names, by command. 69: a service does not answer.
STATUSES = {
    "list": (0, 69),
    "show": (0, 1, 69),
    "verify": (0, 1, 3, 69),
    "recover": (0, 1, 3, 69),
    "clean": (0, 69),
    "plan": (0, 1, 2, 69),
}
WITH_OUTPUT = (0, 3)
#: How long a command waits for nova-compute, and how long any command may take.
ANSWER_SECONDS, LIMIT_SECONDS = 60, 300
#: The number of recover commands that run at the same time.
AT_ONCE = 2


@dataclass(frozen=True)
class Call:
    """How a command ended; ``status`` is None if it did not."""

    command: str
    status: int | None
    output: str
    errors: str

    def faults(self) -> Iterator[str]:
        """Yield what the manual does not allow."""
        if self.status is None:
            yield f"no end within {LIMIT_SECONDS} seconds"
            return
        if self.status not in STATUSES[self.command]:
            yield f"status {self.status}: {self.errors.strip()[-300:]}"
        if "Traceback" in self.errors:
            yield f"a traceback: {self.errors.strip()[-300:]}"
        if self.status in WITH_OUTPUT:
            try:
                json.loads(self.output)
            except ValueError as error:
                yield f"status {self.status}, but no JSON: {error}"
        elif self.output or not self.errors:
            yield f"status {self.status} with output, or without a reason"


class Operator:
    """Runs commands in a thread, one after the other, about one server at a time."""

    def __init__(self, lab: Lab, servers: Sequence[ChaosServer], seed: int) -> None:
        self._program = lab.bin("stable-rescue")
        files = ("nova.conf", "nova-compute.conf")
        folder = lab.etc("nova")
        self._files = [f"--config-file={folder / name}" for name in files]
        self._servers, self._chance = servers, random.Random(seed)
        self._end = threading.Event()
        self.calls: list[Call] = []

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Run commands until the block ends, and finish the one that runs then."""
        thread = threading.Thread(target=self._work, name="operator")
        thread.start()
        try:
            yield
        finally:
            self._end.set()
            thread.join()

    def call(self, command: str, *words: str) -> Call:
        """Run a command, and judge it later."""
        argv = [self._program, command, "--format=json", *self._files, *words]
        try:
            process = subprocess.run(
                argv,
                capture_output=True,
                text=True,
                timeout=LIMIT_SECONDS,
                check=False,
            )
            ended = Call(command, process.returncode, process.stdout, process.stderr)
        except subprocess.TimeoutExpired:
            ended = Call(command, None, "", "")
        self.calls.append(ended)
        return ended

    def leftovers(self, *words: str) -> list[dict[str, Any]]:
        """Return what ``clean`` lists; [] if it fails, which is judged later.

        Memory dumps are left out: a demo in the same lab may have made some.
        """
        call = self.call("clean", *words)
        if call.status:
            return []
        listed = json.loads(call.output)["leftovers"]
        return [each for each in listed if not each["leftover"].endswith(".dump")]

    def faults(self) -> list[str]:
        """Return a line for each fault of each call."""
        return [
            f"stable-rescue {call.command}: {fault}"
            for call in self.calls
            for fault in call.faults()
        ]

    def lines(self) -> Iterator[str]:
        """Yield a line for each command: how often it ran, and how it ended."""
        groups: dict[str, list[Call]] = defaultdict(list)
        for call in self.calls:
            groups[call.command].append(call)
        for command, calls in sorted(groups.items()):
            statuses = Counter(call.status for call in calls)
            ends = ", ".join(f"{n} with {status}" for status, n in statuses.items())
            bad = sum(1 for call in calls if any(call.faults()))
            yield f"stable-rescue {command}: {len(calls)} runs, {ends}; {bad} at fault"

    def _work(self) -> None:
        while not self._end.is_set():
            for command in self._chance.sample(list(STATUSES), len(STATUSES)):
                if self._end.is_set():
                    return
                self._run(command, self._chance.choice(self._servers))

    def _run(self, command: str, server: ChaosServer) -> None:
        match command:
            case "list" | "clean":
                self.call(command)
            case "plan":
                image = f"--image={server.rescue_image}"
                self.call(command, f"--timeout={ANSWER_SECONDS}", image, server.id)
            case "recover":
                words = (f"--timeout={ANSWER_SECONDS}", server.id)
                with ThreadPoolExecutor(AT_ONCE) as threads:
                    for _ in range(AT_ONCE):
                        threads.submit(self.call, command, *words)
            case _:
                self.call(command, server.id)


def exactly(listed: Sequence[dict[str, Any]], folder: Path, files: set[str]) -> bool:
    """Return True if a list of leftovers has the files of a folder, and no other."""
    return sorted(each["leftover"] for each in listed) == sorted(
        str(folder / name) for name in files
    )
