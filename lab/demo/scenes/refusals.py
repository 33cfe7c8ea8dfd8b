# SPDX-License-Identifier: Apache-2.0
"""A rescue is refused: does the guest keep running, and does the user learn why?

Cases are the defects of a rescue image; all are played. After each refusal a device is
plugged in, which makes a guest that still runs print its uptime.
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
class Defect:
    """A defect of a rescue image, in words and in properties."""

    description: str
    reason: str  # a word that must be in the user's reason, in any case of letters
    machine: str = ""  # the server's machine type; "" for the requested one
    bus: str = ""
    min_disk: int = 0  # GiB
    firmware: str = ""
    without_data: bool = False


DEFECTS = {
    "ide": Defect("hw_rescue_bus=ide on q35", "ide", machine="q35", bus="ide"),
    "data": Defect("data missing in Glance's store", "data", without_data=True),
    "min-disk": Defect("min_disk of 1 TiB", "1024", min_disk=1024),
    "firmware": Defect("UEFI image, BIOS server", "uefi", firmware="uefi"),
}


@dataclass(frozen=True)
class Observed:
    """The result of the request; ``after`` is None if the guest does not run."""

    status: str
    reason: str
    guest: str  # libvirt's state of the domain
    before: Inventory
    after: Inventory | None


def cases(request: Request) -> list[str]:
    """Return the defects."""
    return list(DEFECTS)


def play(stage: Stage, case: str) -> bool:
    """Request a rescue that is refused; return True if the guest kept running."""
    defect = DEFECTS[case]
    machine = defect.machine or stage.request.machine
    with stage.server(f"demo-refusal-{case}") as server:
        image = server.factory.image(
            stage.images.original_qcow2, **stage.hardware(machine)
        )
        rescue = _rescue_image(stage, server, defect)
        stage.clock.say("images uploaded")
        with server.booted(image):
            before = server.inventory()
            stage.clock.say("server booted")
            observed = _request(stage, server, rescue, before)
    stage.head(f"{machine}, rescue image with a defect: {defect.description}")
    print(f"status: {observed.status}; the guest: {observed.guest}")
    print(f"reason: {observed.reason}")
    if observed.after:
        uptime = observed.after.uptime
        print(f"uptime: {before.uptime:.0f} s before, {uptime:.0f} s after")
    return stage.verdict(judge(observed, defect.reason))


def judge(observed: Observed, reason: str) -> Iterator[str]:
    """Yield everything that is wrong after a refusal."""
    if observed.status != "ACTIVE":
        yield f"the server is in status {observed.status}"
    if observed.guest != "running":
        yield f"the guest is {observed.guest}"
    before, after = observed.before, observed.after
    if after is None:
        yield "the guest did not print its uptime"
    elif (after.boot_id, after.image) != (before.boot_id, "original"):
        yield "the guest has booted again"
    if reason not in observed.reason.lower():
        yield f"the reason does not mention {reason}"


def _rescue_image(stage: Stage, server: DemoServer, defect: Defect) -> str:
    properties = {"hw_rescue_device": "disk", "hw_rescue_bus": defect.bus or "virtio"}
    if defect.firmware:
        properties["hw_firmware_type"] = defect.firmware
    image = server.factory.image(stage.images.rescue_qcow2, **properties)
    if defect.min_disk:
        stage.cloud.image.update_image(image, min_disk=defect.min_disk)
    if defect.without_data:
        (stage.lab.data("glance") / "images" / image).unlink()
    return image


def _request(
    stage: Stage, server: DemoServer, image: str, before: Inventory
) -> Observed:
    reason = "the rescue was not refused"
    try:
        server.rescue(image)
    except LabError as error:
        reason = str(error)
    now = server.show()
    guest = server.host.virsh("domstate", now.instance_name).strip()
    stage.clock.say(f"rescue requested: status {now.status}, guest {guest}")
    after = None
    if now.status == "ACTIVE" and guest == "running":
        _plug_something(stage, server)()
        after = server.inventory()
        stage.clock.say("a device plugged, and the guest has seen it")
    return Observed(str(now.status), reason, guest, before, after)


def _plug_something(stage: Stage, server: DemoServer) -> Callable[[], None]:
    """Return a function that makes the guest print another inventory.

    :raises LabError: if the lab has nothing that can be plugged
    """
    if stage.lab.options.network:
        return server.plug
    if not server.factory.volume_types:
        raise LabError("This scene needs a network or a volume backend.")
    kind = server.factory.volume_types[0]
    return lambda: server.attach(server.factory.volume(kind))
