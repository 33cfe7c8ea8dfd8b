# SPDX-License-Identifier: Apache-2.0
"""Runs benchmarks and adds each result to the file of the run.

This needs the virtual environment's Python, and the lab's sandbox if a case needs the
lab. The only argument is the request of benchmarks/__main__.py, as JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine, results
from benchmarks.catalog import BENCHMARKS
from lab.clock import Clock


def main(request: dict[str, Any]) -> int:
    """Run every case; return 0 if none has failed."""
    file = Path(request["file"])
    if not file.exists():
        results.begin(file, machine.machine(), machine.versions())
    failures, clock = 0, Clock()
    for name, rounds, cases in request["benchmarks"]:
        clock.say(f"{name}: {rounds} rounds of {', '.join(cases)}")
        began = results.Moment.now()

        def save(
            case: str, measured: Any, name: str = name, began: Any = began
        ) -> None:
            results.add(file, results.row(name, case, began, measured))

        if BENCHMARKS[name].needs_lab:
            failures += in_lab(request, clock, name, rounds, cases, save)
        else:
            module = importlib.import_module(f"benchmarks.{name}")
            save(cases[0], module.samples(rounds))
    clock.say(f"{failures} failed")
    return 1 if failures else 0


def in_lab(
    request: dict[str, Any],
    clock: Clock,
    name: str,
    rounds: int,
    cases: Sequence[str],
    save: Any,
) -> int:
    """Run a benchmark in the lab; return how many cases have failed."""
    from benchmarks.cloud.stage import Stage
    from lab.config import Lab

    lab = Lab.open(Path(request["state"]))
    stage = Stage(lab, rounds, clock, save)
    with stage.reporting_failure(name, "set-up or clean-up"):
        importlib.import_module(f"benchmarks.cloud.{name}").measure(stage, cases)
    return stage.failures


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
