# SPDX-License-Identifier: Apache-2.0
"""A server with a hotplug history is rescued and unrescued: what moves?

Cases are MACHINE/DEVICE/BUS, where no bus is the machine's own.
"""

from __future__ import annotations

from lab.demo.request import Request
from lab.demo.server import DemoServer
from lab.demo.stage import Stage
from lab.demo.table import Result

CASES = (
    *((machine, "disk", bus) for machine in ("q35", "pc") for bus in ("usb", "virtio")),
    *((machine, "disk", "scsi") for machine in ("q35", "pc")),
    *((machine, "cdrom", "") for machine in ("q35", "pc")),
)


def cases(request: Request) -> list[str]:
    """Return the cases: all, or the one that the request describes."""
    if request.every_case:
        return ["/".join(case) for case in CASES]
    bus = request.bus or ("usb" if request.device == "disk" else "")
    return [f"{request.machine}/{request.device}/{bus}"]


def play(stage: Stage, case: str) -> bool:
    """Play one case; return whether nothing moved."""
    machine, device, bus = case.split("/")
    with stage.server(f"demo-{machine}-{device}-{bus or 'any'}") as server:
        original = stage.images.original_qcow2
        own = server.image(original, hw_machine_type=machine)
        rescue = server.rescue_image(stage.images.rescue(device), device, bus)
        stage.clock.say("images uploaded")
        volumes = [server.volume(kind) for kind in server.types]
        stage.clock.say(f"volumes made: {', '.join(server.types) or 'none'}")
        with server.booted(own):
            result = _scene(stage, server, volumes, rescue)
    stage.head(f"{machine}, rescue by {device} on {bus or 'the default bus'}")
    return stage.verdict(stage.show(result))


def _scene(
    stage: Stage, server: DemoServer, volumes: list[object], rescue: str
) -> Result:
    say = stage.clock.say
    say("server ACTIVE: root, ephemeral, swap, config drive, port")
    server.inventory()
    say("guest booted")
    _history(stage, server, volumes)
    server.cold_boot()
    before = server.inventory()
    say(f"cold boot by libvirt: {len(before.devices)} devices and functions")
    return stage.rescue_and_back(server, before, rescue)


def _history(stage: Stage, server: DemoServer, volumes: list[object]) -> None:
    """Give the server a history: attach all, detach one, attach two, plug a port."""
    for volume in volumes:
        server.attach(volume)
    if volumes:
        stage.clock.say("volumes attached")
        server.detach(volumes[0])
        for kind in server.types:
            server.attach(server.volume(kind))
        stage.clock.say("hotplug history: one detached, two attached")
    if stage.lab.options.network:
        server.plug()
        stage.clock.say("hotplug history: a port plugged")
