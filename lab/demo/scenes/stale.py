# SPDX-License-Identifier: Apache-2.0
"""A rescue fails, and the next one is from another image: which image boots?

libvirt refuses the start of the first rescue when its rescue medium has been made (U9).
Cases are machine types.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from lab.demo import storage
from lab.demo.request import Request
from lab.demo.server import DemoServer
from lab.demo.stage import Stage
from lab.errors import LabError
from lab.servers.host import RESCUE_DISK
from lab.services.libvirtd import refused_starts
from stable_rescue.tempest.guest.comparison import compare
from stable_rescue.tempest.guest.inventory import Inventory


def cases(request: Request) -> list[str]:
    """Return the machine types to play."""
    return ["q35", "pc"] if request.every_case else [request.machine]


def play(stage: Stage, case: str) -> bool:
    """Fail a rescue, then rescue again; return True if there are no faults."""
    bus, images = stage.request.bus or "usb", stage.images
    with stage.server(f"demo-stale-{case}") as server:
        factory = server.factory
        image = factory.image(images.original_qcow2, **stage.hardware(case))
        first = factory.rescue_image(images.rescue_qcow2, "disk", bus)
        second = factory.rescue_image(images.other_qcow2, "disk", bus)
        stage.clock.say("images uploaded")
        with server.booted(image):
            before = server.inventory()
            stage.clock.say("server booted")
            uuid = server.server.id
            disks = storage.disks(stage.lab, uuid)
            status, reason = _fail(stage, server, first)
            leftovers = storage.changes(disks, storage.disks(stage.lab, uuid))
            faults = [f"after the failure, on the host: {one}" for one in leftovers]
            if status == "ACTIVE":
                faults += judge_failed(before, server.inventory())
            else:
                faults.append(f"after the failure the server is in status {status}")
            result = stage.rescue_and_unrescue(server, before, second)
    stage.head(f"{case}, a failed rescue, then one from another image, on {bus}")
    print(f"the first rescue, from the image 'rescue': {reason}")
    print(f"the server's status after that: {status}")
    booted = result.rescued.image
    print(f"the second rescue, from the image 'other', booted from {booted!r}")
    faults += stage.show(result, image="other")
    return stage.verdict(faults)


def judge_failed(before: Inventory, now: Inventory) -> Iterator[str]:
    """Yield what a failed rescue has changed for the guest."""
    if now.image != "original":
        yield f"after the failure the guest booted from the image {now.image!r}"
    for change in compare(before, now).disturbed:
        yield f"after the failure a device has moved: {change.device.address}"


def _fail(stage: Stage, server: DemoServer, image: str) -> tuple[str, str]:
    """Rescue while libvirt refuses it; return the status and reason after that."""
    reason = "the rescue did not fail"
    with _rescues_refused(stage):
        try:
            server.rescue(image)
        except LabError as error:
            reason = str(error)
    status = str(server.show().status)
    stage.clock.say(f"rescue with a refused start: status {status}")
    return status, reason


@contextlib.contextmanager
def _rescues_refused(stage: Stage) -> Iterator[None]:
    """Let libvirt refuse to start every domain with a rescue definition."""
    file = refused_starts(stage.lab)
    file.write_text(f"{RESCUE_DISK}\n")
    try:
        yield
    finally:
        file.unlink()
