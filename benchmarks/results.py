# SPDX-License-Identifier: Apache-2.0
"""The JSON file of a run: the machine, its software, and a row for each case.

::

    {"format": 1,
     "machine": {"processor", "cores", "memory_mib"},
     "versions": {"kernel", "libvirt", "qemu", "nova", "stable_rescue", "python"},
     "began": Moment, "ended": Moment,
     "rows": [{"benchmark", "case", "began": Moment, "ended": Moment, "measured"}]}

A moment has the time in UTC and the load averages of 1, 5 and 15 minutes. What
``measured`` contains depends on the benchmark.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORMAT = 1


@dataclass(frozen=True)
class Moment:
    """A time, and how busy the machine was."""

    time: str
    load: tuple[float, ...]

    @classmethod
    def now(cls) -> Moment:
        """Return this moment."""
        time = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        return cls(time, tuple(round(load, 2) for load in os.getloadavg()))


def begin(file: Path, machine: dict[str, Any], versions: dict[str, str]) -> None:
    """Write a run without rows."""
    now = dataclasses.asdict(Moment.now())
    run = {
        "format": FORMAT,
        "machine": machine,
        "versions": versions,
        "began": now,
        "ended": now,
        "rows": [],
    }
    _write(file, run)


def row(benchmark: str, case: str, began: Moment, measured: Any) -> dict[str, Any]:
    """Return the row of a case that has just ended."""
    return {
        "benchmark": benchmark,
        "case": case,
        "began": dataclasses.asdict(began),
        "ended": dataclasses.asdict(Moment.now()),
        "measured": measured,
    }


def add(file: Path, row: dict[str, Any]) -> None:
    """Add a row to a run; it replaces an earlier row of the same case."""
    run = load(file)
    key = (row["benchmark"], row["case"])
    kept = [each for each in run["rows"] if (each["benchmark"], each["case"]) != key]
    _write(file, {**run, "ended": row["ended"], "rows": [*kept, row]})


def load(file: Path) -> dict[str, Any]:
    """Return a run.

    :raises ValueError: if the file is not a run of this format
    """
    run = json.loads(file.read_text())
    if not isinstance(run, dict) or run.get("format") != FORMAT:
        raise ValueError(f"{file} is not a run of tools/bench")
    return run


def _write(file: Path, run: dict[str, Any]) -> None:
    temporary = file.with_suffix(".new")
    temporary.write_text(json.dumps(run, indent=1, default=list) + "\n")
    temporary.replace(file)
