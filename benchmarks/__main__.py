# SPDX-License-Identifier: Apache-2.0
"""The command line of tools/bench."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import page
from benchmarks.catalog import BENCHMARKS, lines
from lab import commands, packages
from lab.__main__ import clean_environment
from lab.config import Lab
from lab.errors import LabError
from lab.sandbox import exit_on_signals

#: The cases of each benchmark, in the order in which they run.
Cases = dict[str, tuple[str, ...]]


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="tools/bench",
        description="Measure stable rescue beside stock rescue and libvirt alone.",
    )
    top.add_argument("name", nargs="*", help="benchmarks to run (default: all)")
    top.add_argument("--list", action="store_true", help="list benchmarks and cases")
    top.add_argument(
        "--case",
        action="append",
        default=[],
        help="run only this case; may be given several times",
    )
    top.add_argument("--rounds", type=int, help="how often each operation is measured")
    top.add_argument(
        "--quick", action="store_true", help="measure only as often as is needed to try"
    )
    top.add_argument(
        "--output",
        type=Path,
        help="JSON file of the run (default: a new one in .lab/benchmarks)",
    )
    top.add_argument("--keep", action="store_true", help="leave the lab up")
    top.add_argument(
        "--publish",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="run nothing: add the files of runs to the manual's page; a later file"
        " replaces the rows of an earlier one",
    )
    return top


def chosen(names: Sequence[str], cases: Sequence[str]) -> Cases:
    """Return the benchmarks and cases to run.

    :raises LabError: if there is no such benchmark or case
    """
    if unknown := set(names) - BENCHMARKS.keys():
        raise LabError(f"No such benchmark: {', '.join(sorted(unknown))}.")
    found = {
        name: tuple(
            case for case in BENCHMARKS[name].cases if not cases or case in cases
        )
        for name in names or BENCHMARKS
    }
    if missing := set(cases) - {case for each in found.values() for case in each}:
        raise LabError(f"No such case: {', '.join(sorted(missing))}.")
    return {name: of_benchmark for name, of_benchmark in found.items() if of_benchmark}


def rounds_of(arguments: argparse.Namespace, name: str) -> int:
    """Return how often a benchmark measures each operation."""
    benchmark = BENCHMARKS[name]
    if arguments.rounds is not None:
        return int(arguments.rounds)
    return benchmark.quick if arguments.quick else benchmark.rounds


def run(lab: Lab, arguments: argparse.Namespace, file: Path, cases: Cases) -> int:
    """Run the cases; return the exit status. A case that fails does not end the run."""
    with_lab = any(BENCHMARKS[name].needs_lab for name in cases)
    if with_lab:
        commands.up(lab, lab.options)
    elif not packages.environment_complete(lab):
        packages.install_environment(lab, lab.log("pip"))
    environment = {
        "PYTHONPATH": str(lab.repository),
        "PATH": os.environ.get("PATH", ""),
        **(lab.credentials() if with_lab else {}),
    }
    request = {
        "state": str(lab.state),
        "file": str(file),
        "benchmarks": [
            (name, rounds_of(arguments, name), list(of_benchmark))
            for name, of_benchmark in cases.items()
        ],
    }
    command = [lab.bin("python"), "-m", "benchmarks.run", json.dumps(request)]
    if with_lab:
        return lab.sandbox.call(command, env=environment)
    return os.spawnve(os.P_WAIT, command[0], command, {**os.environ, **environment})


def measure(arguments: argparse.Namespace) -> int:
    """Run the benchmarks that the command line asks for; return the exit status."""
    cases = chosen(arguments.name, arguments.case)
    lab = Lab.open()
    keep = arguments.keep or lab.sandbox.running()
    time = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S")
    file = (arguments.output or lab.state / "benchmarks" / f"{time}.json").absolute()
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        return run(lab, arguments, file, cases)
    finally:
        print(f"results: {file}", flush=True)
        if not keep and lab.sandbox.running():
            commands.down(lab)


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    arguments = parser().parse_args(words)
    if arguments.list:
        print("\n".join(lines()))
        return 0
    try:
        if arguments.publish:
            page.publish(arguments.publish)
            return 0
        if os.geteuid() != 0:
            raise LabError("The lab needs root to make namespaces: use sudo.")
        clean_environment()
        exit_on_signals()
        return measure(arguments)
    except LabError as error:
        return commands.fail(error)
    except ValueError as error:
        return commands.fail(LabError(str(error)))
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
