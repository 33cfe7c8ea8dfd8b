# SPDX-License-Identifier: Apache-2.0
"""A server with every kind of disk, and eight volumes, is rescued on each bus.

Root, two ephemeral disks, swap, a config drive; four volumes in Ceph and four in
StorPool. Each guest leaves a marker on every disk, which the next one is to find.
Cases are machine types.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from lab.demo import marks, storage
from lab.demo.request import Request
from lab.demo.server import DemoServer
from lab.demo.stage import Stage
from lab.demo.table import Result
from stable_rescue.tempest.guest.inventory import Inventory

#: By machine: each device and bus that one server is rescued with, in this order.
WAYS = {
    "q35": (("disk", "usb"), ("disk", "virtio"), ("disk", "scsi"), ("cdrom", "sata")),
    "pc": (("disk", "usb"), ("disk", "virtio"), ("disk", "scsi"), ("cdrom", "ide")),
}
VOLUMES = 8


def cases(request: Request) -> list[str]:
    """Return the machine types to be shown."""
    return list(WAYS) if request.every_case else [request.machine]


def play(stage: Stage, case: str) -> bool:
    """Rescue and unrescue on each bus in turn; return whether all was well."""
    request = stage.request
    ways: Sequence[tuple[str, str]] = WAYS[case]
    if request.bus or request.device != "disk":
        ways = [(request.device, request.bus)]
    with stage.server(f"demo-storage-{case}") as server:
        own = server.image(stage.images.marking_original_qcow2, hw_machine_type=case)
        kinds = itertools.islice(itertools.cycle(server.types), VOLUMES)
        volumes = server.volumes(kinds)
        stage.clock.say(f"images uploaded, {len(volumes)} volumes made")
        with server.booted_from("image", own, volumes):
            before = server.inventory()
            stage.clock.say(f"server booted with {len(before.disks)} disks")
            faults = []
            for device, bus in ways:
                found = rescue(stage, server, volumes, before, device, bus)
                stage.head(f"{case}, rescue by {device} on {bus or 'default bus'}")
                faults += found.show()
                before = found.result.after
    return stage.verdict(faults)


def rescue(
    stage: Stage,
    server: DemoServer,
    volumes: Sequence[Any],
    before: Inventory,
    device: str,
    bus: str,
) -> Found:
    """Rescue with an image that marks the disks, and unrescue."""
    image = server.rescue_image(stage.images.marking_rescue(device), device, bus)

    def listed() -> list[str]:
        return storage.attachments(stage.lab, stage.cloud, volumes)

    listings = [listed()]
    result = stage.rescue_and_back(
        server, before, image, in_rescue=lambda: listings.append(listed())
    )
    return Found(stage, result, [*listings, listed()])


class Found:
    """What was found in one rescue: addresses, markers, attachments."""

    def __init__(self, stage: Stage, result: Result, listings: list[list[str]]) -> None:
        self.stage, self.result, self.listings = stage, result, listings

    def show(self) -> list[str]:
        """Print it; return what is not as it should be."""
        result, (before, rescued, after) = self.result, self.listings
        faults = self.stage.show(result)
        readings = [
            marks.Reading(result.before, result.rescued, result.before),
            marks.Reading(result.rescued, result.after, result.before),
        ]
        print(marks.line(readings))
        for reading in readings:
            faults += reading.faults()
        print(f"attachments before: {storage.count(before)}")
        for when, listing in (("in rescue", rescued), ("after", after)):
            changed = list(storage.changes(before, listing))
            print(f"attachments {when}: {storage.same(changed)}")
            faults += [f"attachments {when}: {change}" for change in changed]
        return faults
