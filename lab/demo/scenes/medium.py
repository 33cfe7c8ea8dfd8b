# SPDX-License-Identifier: Apache-2.0
"""What a rescue makes beside a server's own disks, and whether all of it goes again.

For each ``--images-type`` of the lab. Cases are hw_rescue_device.
"""

from __future__ import annotations

from lab.demo import storage
from lab.demo.request import Request
from lab.demo.stage import Stage


def cases(request: Request) -> list[str]:
    """Return the rescue devices to be shown."""
    return ["disk", "cdrom"] if request.every_case else [request.device]


def play(stage: Stage, case: str) -> bool:
    """Rescue and unrescue; return whether what was made has gone."""
    request, kind = stage.request, stage.lab.options.images_type
    bus = request.bus or ("usb" if case == "disk" else "")
    with stage.server(f"demo-medium-{case}") as server:
        own = server.image(stage.images.original_qcow2, hw_machine_type=request.machine)
        rescue = server.rescue_image(stage.images.rescue(case), case, bus)
        stage.clock.say("images uploaded")
        with server.booted(own):
            before = server.inventory()
            stage.clock.say("server booted")

            def listed() -> list[str]:
                return storage.disks(stage.lab, server.server.id)

            listings = [listed()]
            result = stage.rescue_and_back(
                server, before, rescue, in_rescue=lambda: listings.append(listed())
            )
            listings.append(listed())
    stage.head(f"{request.machine}, images_type {kind}, rescue by {case}")
    faults = stage.show(result)
    own_disks, rescued, after = listings
    print(f"on the host before: {', '.join(own_disks)}")
    for change in storage.changes(own_disks, rescued):
        print(f"on the host in rescue, {change}")
    left = list(storage.changes(own_disks, after))
    print(f"on the host after: {storage.same(left)}")
    return stage.verdict([*faults, *(f"on the host after: {one}" for one in left)])
