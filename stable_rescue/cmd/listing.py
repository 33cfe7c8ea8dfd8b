# SPDX-License-Identifier: Apache-2.0
"""stable-rescue list: the rescues on this host."""

import argparse
import datetime
from typing import Any

from stable_rescue.cmd import formats, rescues
from stable_rescue.cmd.exits import Output
from stable_rescue.cmd.reading import Rescue

# What fits on a screen, and what programs get.
_TABLE = ("server", "kind", "state", "since", "overdue", "medium_bytes", "image")
_COLUMNS = (*_TABLE, "device", "domain", "running")


def run(options: argparse.Namespace, connection: Any) -> Output:
    """Return the rescues of this host, the oldest first.

    Errors of libvirt propagate.

    :raises OSError: if a file cannot be read
    """
    found = sorted(
        rescues.on_host(connection),
        key=lambda rescue: (rescue.since or datetime.datetime.max, rescue.uuid),
    )
    rows = [row_of(rescue) for rescue in found]
    columns = _TABLE if options.format == "table" else _COLUMNS
    return Output(formats.of_rows(options.format, "rescues", columns, rows))


def row_of(rescue: Rescue) -> formats.Row:
    """Return a rescue as plain values by the name of their column."""
    return {
        "server": rescue.uuid,
        "kind": rescue.kind,
        "state": rescue.state,
        "since": formats.time_of(rescue.since),
        "overdue": rescue.is_overdue,
        "medium_bytes": rescue.medium_bytes(),
        "image": rescue.record.image_id if rescue.record else None,
        "device": rescue.device,
        "domain": rescue.domain_name,
        "running": rescue.is_running,
    }
