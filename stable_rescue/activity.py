# SPDX-License-Identifier: Apache-2.0
"""What this process is doing with rescues now, for its guru meditation report.

The report must answer while everything else hangs. So this module asks nobody: it has
only what this process has noted in memory.
"""

import contextlib
import functools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from oslo_reports import guru_meditation_report
from oslo_reports.models import with_default_views


@dataclass(eq=False)
class _Activity:
    instance_uuid: str
    name: str
    began: float = field(default_factory=time.monotonic)


_activities: list[_Activity] = []


@contextlib.contextmanager
def activity(instance_uuid: str, name: str) -> Iterator[None]:
    """List an instance in the report, with a name, for the length of the block."""
    current = _Activity(instance_uuid, name)
    _activities.append(current)
    try:
        yield
    finally:
        _activities.remove(current)


def under_way() -> dict[str, list[str]]:
    """Return what is under way and since when, outermost first, by instance UUID."""
    now = time.monotonic()
    listed: dict[str, list[str]] = {}
    for each in tuple(_activities):
        text = f"{each.name} for {now - each.began:.1f} seconds"
        listed.setdefault(each.instance_uuid, []).append(text)
    return listed


@functools.cache
def add_to_report() -> None:
    """Add a section to the guru meditation report of this process, once."""
    guru_meditation_report.TextGuruMeditation.register_section(
        "Rescues under way",
        lambda: with_default_views.ModelWithDefaultViews(under_way()),
    )
