# SPDX-License-Identifier: Apache-2.0
"""A server whose root is a volume is rescued, with an encrypted volume beside it.

The root is made from an image; the encrypted one is LUKS in Ceph, opened by QEMU.
Each guest leaves a marker on every disk. Cases are volume types for the root.
"""

from __future__ import annotations

from lab.cloud.resources import ENCRYPTED
from lab.demo import storage
from lab.demo.request import Request
from lab.demo.scenes.storage import rescue
from lab.demo.stage import Stage

#: How a LUKS header begins.
LUKS = b"LUKS\xba\xbe"


def cases(request: Request) -> list[str]:
    """Return the volume types to be shown as root."""
    return ["ceph", "storpool"] if request.every_case else ["ceph"]


def play(stage: Stage, case: str) -> bool:
    """Rescue and unrescue; return whether all was well."""
    request, device = stage.request, stage.request.device
    bus = request.bus or ("usb" if device == "disk" else "")
    with stage.server(f"demo-root-{case}") as server:
        own = server.image(
            stage.images.marking_original_qcow2, hw_machine_type=request.machine
        )
        root = server.volume(case, own)
        secret, *others = server.volumes([ENCRYPTED, *server.types])
        volumes = [root, secret, *others]
        stage.clock.say("image uploaded, volumes made")
        with server.booted_from("volume", root.id, [secret, *others]):
            before = server.inventory()
            stage.clock.say(f"server booted with {len(before.disks)} disks")
            found = rescue(stage, server, volumes, before, device, bus)
            header = storage.first_bytes(secret, len(LUKS))
    stage.head(f"{request.machine}, root on {case}, rescue by {device} on {bus}")
    faults = found.show()
    print(f"the encrypted volume begins, in Ceph: {header!r}")
    if header != LUKS:
        faults.append("the encrypted volume is not encrypted")
    return stage.verdict(faults)
