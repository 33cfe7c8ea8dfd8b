# SPDX-License-Identifier: Apache-2.0
"""What storage itself says of a server: attached volumes, and disks of its own."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from openstack.connection import Connection

from lab.config import Lab
from lab.services.ceph import DISKS, USER, VOLUMES

#: The first with GET /attachments/detail.
MICROVERSION = "3.27"

#: What Nova keeps beside a server's disks. They are not disks, and not compared.
NOT_DISKS = ("console.log",)


def attachments(lab: Lab, cloud: Connection, volumes: Iterable[Any]) -> list[str]:
    """Return a line for each attachment, by Cinder and by the arrays themselves."""
    ids = {volume.id for volume in volumes}
    lines = set(_of_cinder(cloud, ids))
    if "storpool" in lab.options.backends:
        lines |= set(_of_storpool(lab))
    if "ceph" in lab.options.backends:
        lines |= set(_of_ceph(ids))
    return sorted(lines)


def disks(lab: Lab, uuid: str) -> list[str]:
    """Return a server's own files on the host, and its images in Ceph's pool."""
    folder = lab.data("nova/instances") / uuid
    found = [path.name for path in folder.iterdir() if path.name not in NOT_DISKS]
    if "ceph" in lab.options.backends:
        images = _rbd("ls", "--format", "json", DISKS)
        found += [f"{DISKS}/{image}" for image in images if image.startswith(uuid)]
    return sorted(found)


def count(lines: Iterable[str]) -> str:
    """Return how many attachments each party has, for a person."""
    parties: dict[str, int] = {}
    for line in lines:
        party = line.partition(" ")[0]
        parties[party] = parties.get(party, 0) + 1
    return ", ".join(f"{number} by {party}" for party, number in parties.items())


def changes(before: Iterable[str], after: Iterable[str]) -> Iterator[str]:
    """Yield what one listing has and the other has not."""
    old, new = set(before), set(after)
    yield from (f"gone: {line}" for line in sorted(old - new))
    yield from (f"new: {line}" for line in sorted(new - old))


def same(changed: Sequence[str]) -> str:
    """Return whether anything changed, for a person."""
    return f"{len(changed)} changes" if changed else "the same"


def first_bytes(volume: Any, length: int) -> bytes:
    """Return how a volume in Ceph begins, as the pool has it."""
    export = ["rbd", "--id", USER, "--no-progress", "export"]
    with subprocess.Popen(
        [*export, f"{VOLUMES}/volume-{volume.id}", "-"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        content = process.stdout.read(length)
        process.kill()
    return content


def _of_cinder(cloud: Connection, ids: set[str]) -> Iterator[str]:
    answer = cloud.block_storage.get("/attachments/detail", microversion=MICROVERSION)
    for found in answer.json()["attachments"]:
        if found["volume_id"] in ids:
            yield (
                f"Cinder {found['volume_id']} {found['status']}"
                f" {found['attach_mode']} by {found['id']}"
            )


def _of_storpool(lab: Lab) -> Iterator[str]:
    token = (lab.etc("storpool") / "token").read_text().strip()
    request = urllib.request.Request(
        f"{lab.url('storpool')}/ctrl/1.0/AttachmentsList",
        headers={"Authorization": f"Storpool v1:{token}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        for found in json.load(answer)["data"]:
            device = Path("/dev/storpool") / found["volume"]
            there = "a device" if device.exists() else "NO device"
            yield f"StorPool {found['volume']} {found['rights']}, {there} on the host"


def _of_ceph(ids: set[str]) -> Iterator[str]:
    for image in _rbd("ls", "--format", "json", VOLUMES):
        if image.removeprefix("volume-") in ids:
            status = _rbd("status", "--format", "json", f"{VOLUMES}/{image}")
            yield f"Ceph {image} opened {len(status['watchers'])} times"


def _rbd(*words: str) -> Any:
    asked = subprocess.run(
        ["rbd", "--id", USER, *words], check=True, capture_output=True, text=True
    )
    return json.loads(asked.stdout)
