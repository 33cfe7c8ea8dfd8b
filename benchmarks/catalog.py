# SPDX-License-Identifier: Apache-2.0
"""The benchmarks and their cases, by name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Benchmark:
    """One benchmark."""

    title: str
    cases: tuple[str, ...]
    rounds: int  # how often each case measures each operation
    quick: int  # the same with --quick
    needs_lab: bool = True


BENCHMARKS = {
    "downtime": Benchmark(
        "how long a guest is off, and how long a request takes, beside stock rescue and"
        " libvirt alone",
        (
            *("12 MB", "512 MB", "2 GiB"),
            *("8 volumes", "26 volumes", "26 slow volumes"),
            *("raw", "rbd"),
        ),
        rounds=10,
        quick=2,
    ),
    "crowd": Benchmark(
        "1, 5 and 20 rescues and unrescues at once: time, worst downtime, CPU, memory",
        ("1", "5", "20"),
        rounds=2,
        quick=1,
    ),
    "outage": Benchmark(
        "how long a guest is off while nova-conductor is stopped",
        ("nova-conductor",),
        rounds=5,
        quick=1,
    ),
    "start": Benchmark(
        "the start of nova-compute: with stable rescue, with stock rescue, and without"
        " the package",
        ("nova-compute",),
        rounds=5,
        quick=1,
    ),
    "domain": Benchmark(
        "CPU time and memory of a plan, for 10 to 1,000 disks",
        ("plan",),
        rounds=15,
        quick=2,
        needs_lab=False,
    ),
    "periodic": Benchmark(
        "CPU time of the periodic tasks, for 10 to 5,000 instances",
        ("tasks",),
        rounds=20,
        quick=3,
        needs_lab=False,
    ),
}


def lines() -> list[str]:
    """Return what ``--list`` prints: a line for each benchmark, with its cases."""
    width = max(map(len, BENCHMARKS))
    return [
        f"{name:<{width}}  {benchmark.title} ({'; '.join(benchmark.cases)})"
        for name, benchmark in BENCHMARKS.items()
    ]
