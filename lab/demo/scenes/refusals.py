# SPDX-License-Identifier: Apache-2.0
"""A rescue that cannot be is asked for: does the guest notice, does the user know why?

Cases are what is wrong with the rescue image; all are played. After each, a device is
plugged in, so that a guest that still runs prints how long it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lab.demo.request import Request
from lab.demo.server import DemoServer
from lab.demo.stage import Stage
from lab.errors import LabError
from stable_rescue.tempest.guest.inventory import Inventory


@dataclass(frozen=True)
class Fault:
    """What is wrong with a rescue image, in words, as properties, and done to it."""

    what: str
    reason: str  # what the fault that the user reads has to name
    machine: str = ""  # where it is not the one that was asked for
    bus: str = ""
    min_disk: int = 0  # GiB
    firmware: str = ""
    without_data: bool = False


FAULTS = {
    "ide": Fault("hw_rescue_bus=ide on q35", "ide", machine="q35", bus="ide"),
    "data": Fault("its data is deleted in Glance's store", "data", without_data=True),
    "min-disk": Fault("it needs a root disk of 1 TiB", "1024 GiB", min_disk=1024),
    "firmware": Fault("it boots by UEFI, the server by BIOS", "UEFI", firmware="uefi"),
}


@dataclass(frozen=True)
class Seen:
    """What a user sees after a rescue that was asked for; ``after`` of a live guest."""

    status: str
    reason: str
    guest: str  # as libvirt has it
    before: Inventory
    after: Inventory | None


def cases(request: Request) -> list[str]:
    """Return the faults."""
    return list(FAULTS)


def play(stage: Stage, case: str) -> bool:
    """Ask for a rescue that cannot be; return whether the guest never noticed."""
    fault = FAULTS[case]
    machine = fault.machine or stage.request.machine
    with stage.server(f"demo-refusal-{case}") as server:
        own = server.image(stage.images.original_qcow2, hw_machine_type=machine)
        image = _image(stage, server, fault)
        stage.clock.say("images uploaded")
        with server.booted(own):
            before = server.inventory()
            stage.clock.say("server booted")
            seen = _ask(stage, server, image, before)
    stage.head(f"{machine}, a rescue image of which {fault.what}")
    print(f"status: {seen.status}; the guest: {seen.guest}")
    print(f"reason: {seen.reason}")
    if seen.after:
        print(f"uptime: {before.uptime:.0f} s before, {seen.after.uptime:.0f} s after")
    return stage.verdict(judge(seen, fault.reason))


def judge(seen: Seen, reason: str) -> Iterator[str]:
    """Yield what is not as it should be after a refusal."""
    if seen.status != "ACTIVE":
        yield f"the server is in status {seen.status}"
    if seen.guest != "running":
        yield f"the guest is {seen.guest}"
    if seen.after is None:
        yield "the guest does not tell how long it has run"
    elif (seen.after.boot_id, seen.after.image) != (seen.before.boot_id, "original"):
        yield "the guest has booted again"
    if reason not in seen.reason:
        yield f"the reason does not name {reason}"


def _image(stage: Stage, server: DemoServer, fault: Fault) -> str:
    properties = {"hw_rescue_device": "disk", "hw_rescue_bus": fault.bus or "virtio"}
    if fault.firmware:
        properties["hw_firmware_type"] = fault.firmware
    image = server.image(stage.images.rescue_qcow2, **properties)
    if fault.min_disk:
        stage.cloud.image.update_image(image, min_disk=fault.min_disk)
    if fault.without_data:
        (stage.lab.data("glance") / "images" / image).unlink()
    return image


def _ask(stage: Stage, server: DemoServer, image: str, before: Inventory) -> Seen:
    reason = "none was given"
    try:
        server.rescue(image)
    except LabError as error:
        reason = str(error)
    now = server.server_now()
    guest = server.virsh("domstate", now.instance_name).strip()
    stage.clock.say(f"rescue asked for: status {now.status}, guest {guest}")
    after = None
    if now.status == "ACTIVE" and guest == "running":
        _something_new(stage, server)()
        after = server.inventory()
        stage.clock.say("a device plugged, the guest has said so")
    return Seen(str(now.status), reason, guest, before, after)


def _something_new(stage: Stage, server: DemoServer) -> Callable[[], None]:
    """Return what makes the guest print another inventory.

    :raises LabError: where the lab has nothing that can be plugged
    """
    if stage.lab.options.network:
        return server.plug
    if not server.types:
        raise LabError("this scene needs a network or a volume backend")
    return lambda: server.attach(server.volume(server.types[0]))
