# SPDX-License-Identifier: Apache-2.0
"""A server with a hotplug history is rescued and unrescued: which devices move?

Cases are MACHINE/DEVICE/BUS; without BUS the rescue image does not name one.
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
    """Return all cases, or the one that the request describes."""
    if request.every_case:
        return ["/".join(case) for case in CASES]
    bus = request.bus or ("usb" if request.device == "disk" else "")
    return [f"{request.machine}/{request.device}/{bus}"]


def play(stage: Stage, case: str) -> bool:
    """Play one case; return True if no device moved."""
    machine, device, bus = case.split("/")
    with stage.server(f"demo-{machine}-{device}-{bus or 'any'}") as server:
        factory = server.factory
        image = factory.image(stage.images.original_qcow2, **stage.hardware(machine))
        rescue = factory.rescue_image(stage.images.rescue(device), device, bus)
        stage.clock.say("images uploaded")
        volumes = factory.volumes(factory.volume_types)
        kinds = ", ".join(factory.volume_types) or "none"
        stage.clock.say(f"volumes created: {kinds}")
        with server.booted(image):
            result = _rescue(stage, server, volumes, rescue)
    stage.head(f"{machine}, rescue by {device} on {bus or 'the default bus'}")
    return stage.verdict(stage.show(result))


def _rescue(
    stage: Stage, server: DemoServer, volumes: list[object], rescue: str
) -> Result:
    say = stage.clock.say
    say("server ACTIVE: root, ephemeral and swap disk, config drive, port")
    server.inventory()
    say("guest booted")
    _make_history(stage, server, volumes)
    server.cold_boot()
    before = server.inventory()
    say(f"cold boot by libvirt: {len(before.devices)} devices and functions")
    return stage.rescue_and_unrescue(server, before, rescue)


def _make_history(stage: Stage, server: DemoServer, volumes: list[object]) -> None:
    """Attach all volumes, detach one, attach two more, and plug a port."""
    for volume in volumes:
        server.attach(volume)
    if volumes:
        stage.clock.say("volumes attached")
        server.detach(volumes[0])
        for kind in server.factory.volume_types:
            server.attach(server.factory.volume(kind))
        stage.clock.say("hotplug history: one volume detached, two attached")
    if stage.lab.options.network:
        server.plug()
        stage.clock.say("hotplug history: a port plugged")
