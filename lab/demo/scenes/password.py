# SPDX-License-Identifier: Apache-2.0
"""``openstack server rescue --password``: where does the rescue guest find it?

The password is in the config drive, at the address of the server's original config
drive. After unrescue that is the original one again. Cases are machine types.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator

from lab.demo.request import Request
from lab.demo.stage import Stage
from lab.demo.table import Result
from stable_rescue.tempest.guest.comparison import place
from stable_rescue.tempest.guest.inventory import Device, Inventory


def cases(request: Request) -> list[str]:
    """Return the machine types to play."""
    return ["q35", "pc"] if request.every_case else [request.machine]


def play(stage: Stage, case: str) -> bool:
    """Rescue with a password; return True if there are no faults."""
    device, password = stage.request.device, secrets.token_urlsafe(9)
    bus = stage.request.bus or ("usb" if device == "disk" else "")
    with stage.server(f"demo-password-{case}") as server:
        factory = server.factory
        image = factory.image(stage.images.original_qcow2, **stage.hardware(case))
        rescue = factory.rescue_image(stage.images.rescue(device), device, bus)
        stage.clock.say("images uploaded")
        with server.booted(image):
            before = server.inventory()
            stage.clock.say("server booted")
            result = stage.rescue_and_unrescue(server, before, rescue, password)
    stage.head(f"{case}, rescue by {device} on {bus or 'default bus'}, --password")
    faults = stage.show(result)
    for line in lines(result, password):
        print(line)
    return stage.verdict([*faults, *judge(result, password)])


def config_drive(guest: Inventory) -> Device | None:
    """Return the guest's config drive, None if it has none or several."""
    drives = [device for device in guest.disks if device.content_sha256]
    return drives[0] if len(drives) == 1 else None


def lines(result: Result, password: str) -> Iterator[str]:
    """Yield what each guest read from its config drive."""
    for when, guest in (
        ("before", result.before),
        ("in rescue", result.rescued),
        ("after", result.after),
    ):
        drive = config_drive(guest)
        if drive is None:
            yield f"config drive {when}: none"
            continue
        which = "the rescue" if drive.password_sha256 == digest(password) else "another"
        yield (
            f"config drive {when}: {place(drive)}, {which} password,"
            f" content {drive.content_sha256[:12]}"
        )


def judge(result: Result, password: str) -> Iterator[str]:
    """Yield everything that is wrong with the config drives."""
    drives = [config_drive(g) for g in (result.before, result.rescued, result.after)]
    before, rescued, after = drives
    if before is None or rescued is None or after is None:
        yield "a guest has no config drive, or several"
        return
    if rescued.password_sha256 != digest(password):
        yield "the config drive in rescue has another password"
    if rescued.address != before.address:
        yield "the config drive in rescue is not at the original address"
    if after.content_sha256 != before.content_sha256:
        yield "after unrescue the config drive is not the original one"


def digest(text: str) -> str:
    """Return what a guest prints instead of a password."""
    return hashlib.sha256(text.encode()).hexdigest()
