# SPDX-License-Identifier: Apache-2.0
"""The tables of the manual's page on performance, in reStructuredText."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks import report
from benchmarks.report import Figure, Row

#: A dash alone would begin a list in the cell.
NONE = "none"
#: How the page calls the operations' outcome.
STATUS = {"rescue": "RESCUE", "unrescue": "ACTIVE"}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a list-table, and nothing if it has no rows."""
    listed = [head, *rows]
    if len(listed) == 1:
        return ["Not measured.", ""]
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for cells in listed:
        lines += [
            f"   {'*' if number == 0 else ' '} - {cell}"
            for number, cell in enumerate(cells)
        ]
    return [*lines, ""]


def downtime(rows: Sequence[Row]) -> list[str]:
    """Return the table of downtimes."""
    head = ("Case", "Operation", "Stable rescue", "Stock rescue", "Floor")
    lines = []
    for row, operation, drivers in _operations(rows, "downtime"):
        stable, stock, floor = (
            report.figure(drivers[name], "downtime")
            for name in ("stable", "stock", "floor")
        )
        assert stable is not None and stock is not None and floor is not None
        cells = [row["case"], operation, _seconds(stable), _seconds(stock)]
        ratios = (stable.median / floor.median, stock.median / stable.median)
        lines.append([*cells, _seconds(floor), *(f"{ratio:.2f}" for ratio in ratios)])
    return table((*head, "Stable / floor", "Stock / stable"), lines)


def requests(rows: Sequence[Row]) -> list[str]:
    """Return the table of requests, and of what guests take to shut down."""
    head = ("Case", "Request to", "Stable rescue", "Stock rescue")
    lines = []
    for row, operation, drivers in _operations(rows, "downtime"):
        cells = [row["case"], STATUS[operation]]
        for field in ("status", "shutdown"):
            for name in ("stable", "stock"):
                figure = report.figure(drivers[name], field)
                cells.append(_seconds(figure, 1) if figure else NONE)
        lines.append(cells)
    shutdowns = ("Shutdown before stable rescue", "Shutdown before stock rescue")
    return table((*head, *shutdowns), lines)


def crowd(rows: Sequence[Row]) -> list[str]:
    """Return the table of many rescues and unrescues at once."""
    head = ("Servers", "Operation", "Driver", "All ended after", "Worst downtime")
    lines = []
    for row, operation, drivers in _operations(rows, "crowd"):
        for driver, rounds in drivers.items():
            total, cpu, peak = (
                report.figure(rounds, field)
                for field in ("total", "cpu_seconds", "mib_peak")
            )
            assert total is not None
            worst = max(max(each["downtimes"]) for each in rounds)
            lines.append(
                [
                    *(row["case"], operation, driver),
                    *(f"{total.median:.1f} s", f"{worst:.2f} s"),
                    f"{cpu.median:.1f} s" if cpu else NONE,
                    f"{peak.worst:.0f} MiB" if peak else NONE,
                ]
            )
    return table((*head, "CPU time", "Peak memory"), lines)


def outage(rows: Sequence[Row]) -> list[str]:
    """Return the table of downtimes without nova-conductor."""
    head = ("Operation", "Undisturbed", "nova-conductor stopped")
    lines = []
    for _row, operation, kinds in _operations(rows, "outage"):
        figures = [report.figure(samples, "downtime") for samples in kinds.values()]
        lines.append([operation, *(_seconds(figure) for figure in figures if figure)])
    return table(head, lines)


def start(rows: Sequence[Row]) -> list[str]:
    """Return the table of starts of nova-compute."""
    head = ("nova-compute with", "Start", "CPU time", "Memory")
    lines = []
    for row in _of(rows, "start"):
        for name, samples in row["measured"].items():
            seconds, cpu, memory = (
                report.figure(samples, field)
                for field in ("seconds", "cpu_seconds", "mebibytes")
            )
            assert seconds is not None and cpu is not None and memory is not None
            sizes = f"{memory.median:.0f} MiB"
            lines.append([name, _seconds(seconds, 1), _seconds(cpu, 1), sizes])
    return table(head, lines)


def domain(rows: Sequence[Row]) -> list[str]:
    """Return the table of plans."""
    head = ("Definition", "Rescue bus", "Disks", "CPU time", "For each disk")
    lines = []
    for row in _of(rows, "domain"):
        for each in row["measured"]:
            cpu = statistics.median(each["cpu_ms"])
            cells = [each["shape"], each["bus"], f"{each['disks']:,}", f"{cpu:.1f} ms"]
            per_disk = f"{cpu / each['disks'] * 1000:.0f} µs"
            lines.append([*cells, per_disk, f"{each['peak_kib']:,.0f} KiB"])
    return table((*head, "Peak memory"), lines)


def periodic(rows: Sequence[Row]) -> list[str]:
    """Return the table of the periodic tasks."""
    head = ("Directories", "All of this host", "10 of this host", "Requests")
    lines = [
        [
            f"{each['directories']:,}",
            *(
                f"{statistics.median(each[kind]):.2f} ms"
                for kind in ("all", "few", "requests")
            ),
        ]
        for row in _of(rows, "periodic")
        for each in row["measured"]
    ]
    return table(head, lines)


def promises(rows: Sequence[Row]) -> list[str]:
    """Return the table of promises; one line for the worst row of each."""
    head = ("Promise", "Limit", "Worst row", "Value", "Holds in")
    by_promise: dict[str, list[report.Verdict]] = {}
    for verdict in report.verdicts(rows):
        by_promise.setdefault(verdict.promise, []).append(verdict)
    lines = []
    for promise, found in by_promise.items():
        at_least = promise.startswith("times less")
        worst = (min if at_least else max)(
            found, key=lambda verdict: verdict.value / verdict.limit
        )
        sign = "at least" if at_least else "at most"
        holding = sum(verdict.holds for verdict in found)
        lines.append(
            [
                *(promise, f"{sign} {worst.limit:g}", worst.row),
                *(f"{worst.value:.2f}", f"{holding} of {len(found)} rows"),
            ]
        )
    return table(head, lines)


def _of(rows: Iterable[Row], benchmark: str) -> list[Row]:
    return [row for row in rows if row["benchmark"] == benchmark]


def _operations(
    rows: Iterable[Row], benchmark: str
) -> list[tuple[Row, str, Mapping[str, Any]]]:
    """Return each row of a benchmark with each operation and what was measured."""
    return [
        (row, operation, measured)
        for row in _of(rows, benchmark)
        for operation, measured in row["measured"].items()
    ]


def _seconds(figure: Figure, digits: int = 2) -> str:
    """Return the median, and the worst if there are several measurements."""
    text = f"{figure.median:.{digits}f} s"
    if figure.count > 1:
        text += f" ({figure.worst:.{digits}f} s)"
    return text
