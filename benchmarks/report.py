# SPDX-License-Identifier: Apache-2.0
"""Medians, ratios and verdicts of the rows of runs.

``LIMITS`` are the promises of the manual's page on performance. A promise holds if it
holds for every row that it is about.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]

#: Each is at most this many times the median of the floor.
MEDIAN_OF_FLOOR, WORST_OF_FLOOR = 1.25, 1.5
#: Stock rescue's downtime is at least this many times the downtime of stable rescue.
TIMES_LESS = {"12 MB": 2.0, "2 GiB": 15.0, "26 slow volumes": 15.0}
#: The worst downtime of the largest crowd, in worst downtimes of one server.
CROWD_OF_SINGLE = 3.0
#: How long all unrescues of the largest crowd take, in times of stock unrescue.
CROWD_OF_STOCK = 2.0
#: An outage of nova-conductor lengthens the median downtime at most by this factor.
OUTAGE_OF_UNDISTURBED = 1.25


@dataclass(frozen=True)
class Figure:
    """The median, the best and the worst of some measurements."""

    median: float
    best: float
    worst: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Figure:
        """Return the figure of at least one value."""
        listed = list(values)
        return cls(statistics.median(listed), min(listed), max(listed), len(listed))


@dataclass(frozen=True)
class Verdict:
    """A promise for one row, and whether it holds."""

    promise: str
    row: str
    value: float
    limit: float
    holds: bool


def figure(samples: Iterable[Mapping[str, Any]], field: str) -> Figure | None:
    """Return the figure of a field of samples, None if no sample has it."""
    values = [sample[field] for sample in samples if sample.get(field) is not None]
    return Figure.of(values) if values else None


def beyond_noise(stable: Sequence[float], stock: Sequence[float]) -> bool:
    """Return True if ``stable`` take longer than ``stock`` by more than both vary.

    That is so if the median of ``stable`` is above the upper quartile of ``stock``, and
    the median of ``stock`` is below the lower quartile of ``stable``.
    """
    median, other = statistics.median(stable), statistics.median(stock)
    return median > _quartile(stock, 2) and other < _quartile(stable, 0)


def _quartile(values: Sequence[float], number: int) -> float:
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=4, method="inclusive")[number]


def verdicts(rows: Iterable[Row]) -> list[Verdict]:
    """Return a verdict on each promise for each row that it is about."""
    listed = list(rows)
    judges: tuple[tuple[str, Callable[[Row], Iterator[Verdict]]], ...] = (
        ("downtime", _floor),
        ("downtime", _stock),
        ("downtime", _request),
        ("outage", _outage),
    )
    found = [
        verdict
        for benchmark, judge in judges
        for row in listed
        if row["benchmark"] == benchmark
        for verdict in judge(row)
    ]
    crowds = {
        int(row["case"]): row["measured"]
        for row in listed
        if row["benchmark"] == "crowd"
    }
    return [*found, *_crowd(crowds)]


def _floor(row: Row) -> Iterator[Verdict]:
    for operation, drivers in row["measured"].items():
        stable = figure(drivers["stable"], "downtime")
        floor = figure(drivers["floor"], "downtime")
        assert stable is not None and floor is not None
        for name, value, limit in (
            ("median", stable.median, MEDIAN_OF_FLOOR),
            ("worst", stable.worst, WORST_OF_FLOOR),
        ):
            yield _at_most(
                f"{name} downtime, of the floor",
                f"{operation}, {row['case']}",
                value / floor.median,
                limit,
            )


def _stock(row: Row) -> Iterator[Verdict]:
    drivers = row["measured"]["rescue"]
    if limit := TIMES_LESS.get(row["case"]):
        stable = figure(drivers["stable"], "downtime")
        stock = figure(drivers["stock"], "downtime")
        assert stable is not None and stock is not None
        times = stock.median / stable.median
        yield Verdict(
            "times less downtime than stock rescue",
            f"rescue, {row['case']}",
            times,
            limit,
            times >= limit,
        )
    yield _not_longer("downtime, of stock unrescue", "unrescue", row, "downtime")


def _request(row: Row) -> Iterator[Verdict]:
    yield _not_longer("request to RESCUE, of stock rescue", "rescue", row, "status")


def _not_longer(promise: str, operation: str, row: Row, field: str) -> Verdict:
    """Return the verdict on: not longer than stock, beyond noise."""
    drivers = row["measured"][operation]
    stable, stock = (
        [sample[field] for sample in drivers[driver]] for driver in ("stable", "stock")
    )
    return Verdict(
        f"{promise}, within noise",
        f"{operation}, {row['case']}",
        statistics.median(stable) / statistics.median(stock),
        1.0,
        not beyond_noise(stable, stock),
    )


def _outage(row: Row) -> Iterator[Verdict]:
    for operation, kinds in row["measured"].items():
        outage = figure(kinds["outage"], "downtime")
        undisturbed = figure(kinds["undisturbed"], "downtime")
        assert outage is not None and undisturbed is not None
        yield _at_most(
            "median downtime without nova-conductor, of the undisturbed one",
            operation,
            outage.median / undisturbed.median,
            OUTAGE_OF_UNDISTURBED,
        )


def _crowd(crowds: Mapping[int, Any]) -> Iterator[Verdict]:
    largest = max(crowds, default=1)
    if largest == 1:
        return
    for operation, drivers in crowds[largest].items():
        if 1 in crowds:
            worst, single = (
                max(max(each["downtimes"]) for each in rounds)
                for rounds in (drivers["stable"], crowds[1][operation]["stable"])
            )
            yield _at_most(
                f"worst downtime of {largest} at once, of the worst of one",
                operation,
                worst / single,
                CROWD_OF_SINGLE,
            )
    drivers = crowds[largest]["unrescue"]
    stable, stock = (figure(drivers[name], "total") for name in ("stable", "stock"))
    assert stable is not None and stock is not None
    yield _at_most(
        f"all {largest} unrescued, of stock unrescue",
        "unrescue",
        stable.median / stock.median,
        CROWD_OF_STOCK,
    )


def _at_most(promise: str, row: str, value: float, limit: float) -> Verdict:
    return Verdict(promise, row, value, limit, value <= limit)
