# SPDX-License-Identifier: Apache-2.0
"""Rows of runs, as the benchmarks measure them."""

from collections.abc import Sequence
from typing import Any


def samples(*downtimes: float, status: float = 5.0) -> list[dict[str, Any]]:
    """Return a sample for each downtime."""
    return [{"downtime": each, "shutdown": 1.0, "status": status} for each in downtimes]


def downtime_row(
    case: str = "12 MB",
    *,
    stable: Sequence[float] = (0.5, 0.6, 0.7),
    stock: Sequence[float] = (2.0, 3.0, 4.0),
    floor: Sequence[float] = (0.5, 0.5, 0.6),
    status: float = 5.0,
) -> dict[str, Any]:
    """Return a row of the benchmark ``downtime``, the same for both operations."""
    drivers = {
        "stable": samples(*stable, status=status),
        "stock": samples(*stock),
        "floor": samples(*floor),
    }
    measured = {"rescue": drivers, "unrescue": drivers}
    return {"benchmark": "downtime", "case": case, "measured": measured}


def crowd_row(
    count: int, worst: float, total: float, stock: float = 10.0
) -> dict[str, Any]:
    """Return a row of the benchmark ``crowd``, the same for both operations."""

    def rounds(total: float) -> list[dict[str, Any]]:
        return [
            {
                "total": total,
                "downtimes": [0.5] * (count - 1) + [worst],
                "shutdowns": [1.0] * count,
                "cpu_seconds": 2.0,
                "mib_before": 100.0,
                "mib_peak": 110.0,
            }
        ]

    drivers = {
        "stable": rounds(total),
        "stock": rounds(stock),
        "floor": [{"total": 4.0, "downtimes": [0.5] * (count - 1) + [0.75]}],
    }
    measured = {"rescue": drivers, "unrescue": drivers}
    return {"benchmark": "crowd", "case": str(count), "measured": measured}
