# SPDX-License-Identifier: Apache-2.0
"""A server with a root volume, and an encrypted volume beside it, is rescued.

The root volume is made from an image. The encrypted volume is LUKS in Ceph, and QEMU
decrypts it. Each guest writes a marker to every disk. Cases are the volume types of the
root volume.
"""

from __future__ import annotations

from lab.cloud.resources import ENCRYPTED
from lab.demo import storage
from lab.demo.request import Request
from lab.demo.scenes.storage import rescue
from lab.demo.stage import Stage
from lab.servers.factory import volume_disk

#: The first bytes of a LUKS header.
LUKS = b"LUKS\xba\xbe"


def cases(request: Request) -> list[str]:
    """Return the volume types to play as root."""
    return ["ceph", "storpool"] if request.every_case else ["ceph"]


def play(stage: Stage, case: str) -> bool:
    """Rescue and unrescue; return True if there are no faults."""
    request, device = stage.request, stage.request.device
    bus = request.bus or ("usb" if device == "disk" else "")
    with stage.server(f"demo-root-{case}") as server:
        factory = server.factory
        image = factory.image(
            stage.images.marking_original_qcow2, **stage.hardware(request.machine)
        )
        root = factory.volume(case, image)
        encrypted, *others = factory.volumes([ENCRYPTED, *factory.volume_types])
        volumes = [root, encrypted, *others]
        stage.clock.say("image uploaded, volumes created")
        with server.booted_with(volume_disk(root.id, root=True), [encrypted, *others]):
            before = server.inventory()
            stage.clock.say(f"server booted with {len(before.disks)} disks")
            observed = rescue(stage, server, volumes, before, device, bus)
            header = storage.first_bytes(encrypted, len(LUKS))
    stage.head(f"{request.machine}, root on {case}, rescue by {device} on {bus}")
    faults = observed.show()
    print(f"the encrypted volume begins, in Ceph, with: {header!r}")
    if header != LUKS:
        faults.append("the encrypted volume is not encrypted")
    return stage.verdict(faults)
