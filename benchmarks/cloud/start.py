# SPDX-License-Identifier: Apache-2.0
"""What the package costs nova-compute when it starts, by a scene of the demo."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from benchmarks.cloud.stage import Stage
from lab.demo.scenes import start


def measure(stage: Stage, names: Sequence[str]) -> None:
    """Measure, and save the samples of each installation."""
    for case in names:
        with stage.reporting_failure("start", case):
            starts = start.measure(stage.lab, stage.rounds, stage.clock)
            stage.save(
                case,
                {
                    name: [dataclasses.asdict(each) for each in measured]
                    for name, measured in starts.items()
                },
            )
