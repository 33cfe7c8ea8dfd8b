# SPDX-License-Identifier: Apache-2.0
"""What the package costs nova-compute when it starts: seconds and memory.

Three installations take turns: this driver, Nova's driver beside the installed package,
and Nova's driver alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.clock import Clock
from lab.config import ENVIRONMENT_MARKER, Lab
from lab.demo.request import Request
from lab.demo.stage import Stage
from lab.servers import compute

#: How often each installation is measured.
ROUNDS = 5
#: Installation: its driver, and whether the package is installed.
INSTALLATIONS = {
    "this driver": (compute.STABLE_DRIVER, True),
    "Nova's driver": (compute.STOCK_DRIVER, True),
    "without package": (compute.STOCK_DRIVER, False),
}
HIDDEN = ".hidden"


@dataclass(frozen=True)
class Start:
    """What a start has taken until nova-compute served its host."""

    seconds: float
    cpu_seconds: float
    mebibytes: float


def cases(request: Request) -> list[str]:
    """Return the only case."""
    return ["nova-compute"]


def play(stage: Stage, case: str) -> bool:
    """Measure, and print a table; times are never a fault."""
    starts = measure(stage.lab, ROUNDS, stage.clock)
    stage.head(f"start of {case}, {ROUNDS} rounds")
    for line in table(starts):
        print(line)
    return stage.verdict([])


def measure(lab: Lab, rounds: int, clock: Clock) -> dict[str, list[Start]]:
    """Start each installation in turn; return what the starts took.

    :raises LabError: if nova-compute does not start
    """
    starts: dict[str, list[Start]] = {name: [] for name in INSTALLATIONS}
    try:
        for number in range(rounds):
            for name, (driver, installed) in INSTALLATIONS.items():
                starts[name].append(_start(lab, driver, installed))
            clock.say(f"round {number + 1} of {rounds}")
    finally:
        _start(lab, lab.options.driver)
    return starts


def table(starts: dict[str, list[Start]]) -> list[str]:
    """Return the lines of the table: medians, with the lowest and the highest value."""
    fields = [field.name for field in dataclasses.fields(Start)]
    lines = [f"{'':<16}" + "".join(f"{name.replace('_', ' '):>24}" for name in fields)]
    for name, measured in starts.items():
        columns = []
        for field in fields:
            values = [getattr(each, field) for each in measured]
            median, low, high = statistics.median(values), min(values), max(values)
            columns.append(f"{f'{median:.1f} ({low:.1f} to {high:.1f})':>24}")
        lines.append(f"{name:<16}" + "".join(columns))
    return lines


def _start(lab: Lab, driver: str, installed: bool = True) -> Start:
    """Start nova-compute anew with a driver; return what that took."""
    service = compute.stop(lab, driver)
    with contextlib.ExitStack() as stack:
        if not installed:
            stack.enter_context(hidden_package(lab.venv))
        began = time.monotonic()
        compute.start(service)
        seconds = time.monotonic() - began
        return Start(seconds, *used(compute.process(lab)))


def used(process: Path) -> tuple[float, float]:
    """Return the CPU seconds and the MiB of memory that a process has used."""
    return compute.cpu_seconds(process), compute.mebibytes(process)


@contextlib.contextmanager
def hidden_package(venv: Path) -> Iterator[None]:
    """Make a virtual environment one without the package during the block.

    Without its marker the environment counts as incomplete, so that the next `up`
    installs the package again if this process is killed.
    """
    site = next((venv / "lib").glob("python3*")) / "site-packages"
    files = [venv / ENVIRONMENT_MARKER, *site.glob("*stable_rescue*")]
    with contextlib.ExitStack() as stack:
        for file in files:
            away = file.with_name(file.name + HIDDEN)
            file.rename(away)
            stack.callback(away.rename, file)
        yield
