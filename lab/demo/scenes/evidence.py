# SPDX-License-Identifier: Apache-2.0
"""A server is looked at: nothing that its rescue system writes reaches its disks.

The rescue image has ``hw_rescue_writes=discard`` and ``hw_rescue_network=quarantine``.
The server has a root disk, two ephemeral disks, swap, a config drive, and volumes in
Ceph, encrypted in Ceph, and in StorPool. The server is stopped meanwhile, so that only
the rescue system could write, and it writes a marker to every disk. Cases are machine
types.
"""

from __future__ import annotations

from lab.cloud.resources import ENCRYPTED
from lab.demo import marks
from lab.demo.request import Request
from lab.demo.server import DemoServer
from lab.demo.stage import Stage
from lab.demo.table import Result
from lab.servers.disks import disks_of
from lab.servers.factory import image_disk
from stable_rescue.tempest.guest.inventory import Inventory

PROPERTIES = {"hw_rescue_writes": "discard", "hw_rescue_network": "quarantine"}
#: What a guest says of a disk that it could not write to.
UNWRITTEN = ("", "failed")
#: Target of a disk: its digest.
Digests = dict[str, str]


def cases(request: Request) -> list[str]:
    """Return the machine types to play."""
    return ["q35", "pc"] if request.every_case else [request.machine]


def play(stage: Stage, case: str) -> bool:
    """Rescue and unrescue; return True if there are no faults."""
    device = stage.request.device
    bus = stage.request.bus or ("usb" if device == "disk" else "")
    with stage.server(f"demo-evidence-{case}") as server:
        factory = server.factory
        image = factory.image(
            stage.images.marking_original_qcow2, **stage.hardware(case)
        )
        rescue = factory.rescue_image(
            stage.images.marking_rescue(device), device, bus, **PROPERTIES
        )
        volumes = factory.volumes([ENCRYPTED, *factory.volume_types])
        stage.clock.say(f"images uploaded, {len(volumes)} volumes created")
        with server.booted_with(image_disk(image), volumes):
            server.inventory()
            # Nova adds a keyboard when it starts a server for the second time.
            server.stop()
            before = _started(server)
            stage.clock.say(f"server booted with {len(before.disks)} disks")
            server.stop()
            definition = server.host.definition(server.show().instance_name)
            files = server.host.files(server.server.id)
            digests = [sums(definition)]
            stage.clock.say(f"server stopped, digests of {len(digests[0])} disks taken")
            server.rescue(rescue)
            rescued = server.inventory()
            digests.append(sums(definition))
            stage.clock.say("rescue guest booted and has written, digests taken")
            server.unrescue("SHUTOFF")
            digests.append(sums(definition))
            left = server.host.files(server.server.id) - files
            after = _started(server)
            stage.clock.say("server unrescued and started")
    stage.head(f"{case}, evidence, rescue by {device} on {bus or 'default bus'}")
    result = Result(before, rescued, after)
    different = changed(digests)
    faults = [*stage.show(result), *different, *connected(rescued)]
    faults += [f"left behind: {name}" for name in sorted(left)]
    readings = [
        marks.Reading(before, rescued, before),
        marks.Reading(before, after, before),
    ]
    print(marks.line(readings))
    for reading in readings:
        faults += reading.faults()
    written = [disk for disk in rescued.disks if disk.marker_written not in UNWRITTEN]
    print(f"the rescue guest wrote to {len(written)} disks")
    print(f"originals that changed: {len(different)} of {len(digests[0])}")
    return stage.verdict(faults)


def sums(definition: str) -> Digests:
    """Return the digest of each of a server's disks."""
    return {disk.target: disk.sha256sum() for disk in disks_of(definition)}


def changed(digests: list[Digests]) -> list[str]:
    """Return a fault for each disk with another digest than at first."""
    first, *others = digests
    return [
        f"{target} has changed"
        for target, digest in first.items()
        if any(other[target] != digest for other in others)
    ]


def connected(guest: Inventory) -> list[str]:
    """Return a fault for each NIC that is not known to have no carrier."""
    return [
        f"NIC {nic.mac} has carrier {nic.carrier or 'unknown'}"
        for nic in guest.of_kind("nic")
        if nic.carrier != "0"
    ]


def _started(server: DemoServer) -> Inventory:
    """Start the server; return what its guest sees."""
    server.start()
    return server.inventory()
