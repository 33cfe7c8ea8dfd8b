# SPDX-License-Identifier: Apache-2.0
"""What QEMU has written to each disk, as libvirt counts it."""

from collections.abc import Mapping
from typing import Any


def writes_to_originals(
    stats: Mapping[str, Any], overlays: list[str]
) -> dict[str, int]:
    """Return how many write requests each original disk has got, by target name.

    libvirt lists a disk first, and then what is below it.

    :param stats: the block statistics of a domain, with what is below each disk
    :param overlays: the target names of the disks that have an overlay
    """
    counted: dict[str, int] = {}
    seen: set[str] = set()
    for index in range(stats.get("block.count", 0)):
        target = stats.get(f"block.{index}.name")
        if target is None:
            continue
        is_overlay = target in overlays and target not in seen
        seen.add(target)
        if not is_overlay:
            requests = stats.get(f"block.{index}.wr.reqs", 0)
            counted[target] = counted.get(target, 0) + requests
    return counted
