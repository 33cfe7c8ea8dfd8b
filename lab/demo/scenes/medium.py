# SPDX-License-Identifier: Apache-2.0
"""The files that a rescue adds to a server's disks, and that unrescue removes them.

Play this once for each ``--images-type`` of the lab. Cases are hw_rescue_device.
"""

from __future__ import annotations

from lab.demo import storage
from lab.demo.request import Request
from lab.demo.stage import Stage


def cases(request: Request) -> list[str]:
    """Return the rescue devices to play."""
    return ["disk", "cdrom"] if request.every_case else [request.device]


def play(stage: Stage, case: str) -> bool:
    """Rescue and unrescue; return True if everything that was added is gone."""
    request, images_type = stage.request, stage.lab.options.images_type
    bus = request.bus or ("usb" if case == "disk" else "")
    with stage.server(f"demo-medium-{case}") as server:
        image = server.factory.image(
            stage.images.original_qcow2, **stage.hardware(request.machine)
        )
        rescue = server.factory.rescue_image(stage.images.rescue(case), case, bus)
        stage.clock.say("images uploaded")
        with server.booted(image):
            inventory = server.inventory()
            stage.clock.say("server booted")

            def list_disks() -> list[str]:
                return storage.disks(stage.lab, server.server.id)

            listings = [list_disks()]
            result = stage.rescue_and_unrescue(
                server,
                inventory,
                rescue,
                in_rescue=lambda: listings.append(list_disks()),
            )
            listings.append(list_disks())
    stage.head(f"{request.machine}, images_type {images_type}, rescue by {case}")
    faults = stage.show(result)
    before, rescued, after = listings
    print(f"on the host before: {', '.join(before)}")
    for change in storage.changes(before, rescued):
        print(f"on the host in rescue, {change}")
    changes = list(storage.changes(before, after))
    print(f"on the host after: {storage.summary(changes)}")
    return stage.verdict([*faults, *(f"on the host after: {one}" for one in changes)])
