# SPDX-License-Identifier: Apache-2.0
"""``openstack server rescue --password``: where does the rescue guest find it?

In the config drive, where the server's own always was; afterwards that is its own
again. Cases are machine types.
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
    """Return the machine types to be shown."""
    return ["q35", "pc"] if request.every_case else [request.machine]


def play(stage: Stage, case: str) -> bool:
    """Rescue with a password; return whether all was well."""
    device, password = stage.request.device, secrets.token_urlsafe(9)
    bus = stage.request.bus or ("usb" if device == "disk" else "")
    with stage.server(f"demo-password-{case}") as server:
        own = server.image(stage.images.original_qcow2, hw_machine_type=case)
        rescue = server.rescue_image(stage.images.rescue(device), device, bus)
        stage.clock.say("images uploaded")
        with server.booted(own):
            before = server.inventory()
            stage.clock.say("server booted")
            result = stage.rescue_and_back(server, before, rescue, password)
    stage.head(f"{case}, rescue by {device} on {bus or 'default bus'}, --password")
    faults = stage.show(result)
    for line in lines(result, password):
        print(line)
    return stage.verdict([*faults, *judge(result, password)])


def config_drive(guest: Inventory) -> Device | None:
    """Return the guest's config drive; None where it has none, or several."""
    found = [device for device in guest.disks if device.content_sha256]
    return found[0] if len(found) == 1 else None


def lines(result: Result, password: str) -> Iterator[str]:
    """Yield what each guest read in its config drive."""
    for when, guest in (
        ("before", result.before),
        ("in rescue", result.rescued),
        ("after", result.after),
    ):
        drive = config_drive(guest)
        if drive is None:
            yield f"config drive {when}: none"
            continue
        holds = "the" if drive.password_sha256 == digest(password) else "another"
        yield (
            f"config drive {when}: {place(drive)}, {holds} password,"
            f" content {drive.content_sha256[:12]}"
        )


def judge(result: Result, password: str) -> Iterator[str]:
    """Yield what is not as it should be; nothing where all is well."""
    drives = [config_drive(g) for g in (result.before, result.rescued, result.after)]
    before, rescued, after = drives
    if before is None or rescued is None or after is None:
        yield "a guest has no config drive, or several"
        return
    if rescued.password_sha256 != digest(password):
        yield "the rescue guest's config drive has another password"
    if rescued.address != before.address:
        yield "the rescue guest's config drive is not where the server's own was"
    if after.content_sha256 != before.content_sha256:
        yield "the server's own config drive is not back"


def digest(text: str) -> str:
    """Return what a guest prints of a password."""
    return hashlib.sha256(text.encode()).hexdigest()
