# SPDX-License-Identifier: Apache-2.0
"""A server with every kind of disk, and eight volumes, is rescued on each bus.

The server has a root disk, two ephemeral disks, swap, a config drive, four volumes in
Ceph and four in StorPool. Each guest writes a marker to every disk, for the next guest
to read. Cases are machine types.
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
from lab.servers.factory import image_disk
from stable_rescue.tempest.guest.inventory import Inventory

#: machine: the devices and buses that one server is rescued with, in this order.
DEVICES_AND_BUSES = {
    "q35": (("disk", "usb"), ("disk", "virtio"), ("disk", "scsi"), ("cdrom", "sata")),
    "pc": (("disk", "usb"), ("disk", "virtio"), ("disk", "scsi"), ("cdrom", "ide")),
}
VOLUMES = 8


def cases(request: Request) -> list[str]:
    """Return the machine types to play."""
    return list(DEVICES_AND_BUSES) if request.every_case else [request.machine]


def play(stage: Stage, case: str) -> bool:
    """Rescue and unrescue on each bus in turn; return True if there are no faults."""
    request = stage.request
    pairs: Sequence[tuple[str, str]] = DEVICES_AND_BUSES[case]
    if request.bus or request.device != "disk":
        pairs = [(request.device, request.bus)]
    with stage.server(f"demo-storage-{case}") as server:
        factory = server.factory
        image = factory.image(
            stage.images.marking_original_qcow2, **stage.hardware(case)
        )
        kinds = itertools.islice(itertools.cycle(factory.volume_types), VOLUMES)
        volumes = factory.volumes(kinds)
        stage.clock.say(f"images uploaded, {len(volumes)} volumes created")
        with server.booted_with(image_disk(image), volumes):
            before = server.inventory()
            stage.clock.say(f"server booted with {len(before.disks)} disks")
            faults = []
            for device, bus in pairs:
                observed = rescue(stage, server, volumes, before, device, bus)
                stage.head(f"{case}, rescue by {device} on {bus or 'default bus'}")
                faults += observed.show()
                before = observed.result.after
    return stage.verdict(faults)


def rescue(
    stage: Stage,
    server: DemoServer,
    volumes: Sequence[Any],
    before: Inventory,
    device: str,
    bus: str,
) -> Observed:
    """Rescue with an image that marks the disks, and unrescue."""
    path = stage.images.marking_rescue(device)
    image = server.factory.rescue_image(path, device, bus)

    def list_attachments() -> list[str]:
        return storage.attachments(stage.lab, stage.cloud, volumes)

    listings = [list_attachments()]
    result = stage.rescue_and_unrescue(
        server, before, image, in_rescue=lambda: listings.append(list_attachments())
    )
    return Observed(stage, result, [*listings, list_attachments()])


class Observed:
    """The observations in one rescue: addresses, markers, attachments."""

    def __init__(self, stage: Stage, result: Result, listings: list[list[str]]) -> None:
        self.stage, self.result, self.listings = stage, result, listings

    def show(self) -> list[str]:
        """Print the observations; return the faults."""
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
            print(f"attachments {when}: {storage.summary(changed)}")
            faults += [f"attachments {when}: {change}" for change in changed]
        return faults
