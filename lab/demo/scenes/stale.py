# SPDX-License-Identifier: Apache-2.0
"""A rescue from one image fails, the next is from another: which one boots?

libvirt is made to refuse the start of the first rescue, when its medium is there
(UPSTREAM U9). Cases are machine types.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from lab.demo import storage
from lab.demo.request import Request
from lab.demo.server import DemoServer
from lab.demo.stage import Stage
from lab.errors import LabError
from lab.services.libvirtd import refused_starts
from stable_rescue.tempest.guest.comparison import compare
from stable_rescue.tempest.guest.inventory import Inventory

#: In the definition of a rescued domain, Nova's or ours, and in no other.
RESCUE_DISK = "disk.rescue"


def cases(request: Request) -> list[str]:
    """Return the machine types to be shown."""
    return ["q35", "pc"] if request.every_case else [request.machine]


def play(stage: Stage, case: str) -> bool:
    """Fail once, rescue again; return whether all was well."""
    bus, images = stage.request.bus or "usb", stage.images
    with stage.server(f"demo-stale-{case}") as server:
        own = server.image(images.original_qcow2, hw_machine_type=case)
        first = server.rescue_image(images.rescue_qcow2, "disk", bus)
        second = server.rescue_image(images.other_qcow2, "disk", bus)
        stage.clock.say("images uploaded")
        with server.booted(own):
            before = server.inventory()
            stage.clock.say("server booted")
            kept = storage.disks(stage.lab, server.server.id)
            status, reason = _fail(stage, server, first)
            left = list(
                storage.changes(kept, storage.disks(stage.lab, server.server.id))
            )
            faults = [f"after the failure, on the host: {change}" for change in left]
            if status == "ACTIVE":
                faults += judge_failed(before, server.inventory())
            else:
                faults.append(f"after the failure the server is in status {status}")
            result = stage.rescue_and_back(server, before, second)
    stage.head(f"{case}, a rescue that fails, then one from another image on {bus}")
    print(f"the first rescue, from the image 'rescue': {reason}")
    print(f"the server's status then: {status}")
    print(f"the second rescue, from the image 'other', booted {result.rescued.image!r}")
    faults += stage.show(result, image="other")
    return stage.verdict(faults)


def judge_failed(before: Inventory, now: Inventory) -> Iterator[str]:
    """Yield what a failed rescue has changed for the guest."""
    if now.image != "original":
        yield f"after the failure the image {now.image!r} booted"
    for change in compare(before, now).disturbed:
        yield f"after the failure: {change.device.address} is not where it was"


def _fail(stage: Stage, server: DemoServer, image: str) -> tuple[str, str]:
    """Rescue where no rescued domain can start; return status and reason then."""
    reason = "it did not fail"
    with _refused(stage):
        try:
            server.rescue(image)
        except LabError as error:
            reason = str(error)
    status = str(server.server_now().status)
    stage.clock.say(f"a rescue that libvirt does not start: status {status}")
    return status, reason


@contextlib.contextmanager
def _refused(stage: Stage) -> Iterator[None]:
    file = refused_starts(stage.lab)
    file.write_text(f"{RESCUE_DISK}\n")
    try:
        yield
    finally:
        file.unlink()
