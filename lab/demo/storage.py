# SPDX-License-Identifier: Apache-2.0
"""A server's attached volumes and local disks, as the storage backends list them."""

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

#: The first volume API with GET /attachments/detail.
MICROVERSION = "3.27"

#: Files that are in an instance's folder but are not compared, because they are not
#: disks.
NOT_DISKS = ("console.log",)


def attachments(lab: Lab, cloud: Connection, volumes: Iterable[Any]) -> list[str]:
    """Return a line for each attachment, as listed by Cinder and by the backends."""
    ids = {volume.id for volume in volumes}
    lines = set(_of_cinder(cloud, ids))
    if "storpool" in lab.options.backends:
        lines |= set(_of_storpool(lab))
    if "ceph" in lab.options.backends:
        lines |= set(_of_ceph(ids))
    return sorted(lines)


def disks(lab: Lab, uuid: str) -> list[str]:
    """Return the files in the instance's folder, and its images in Ceph's pool."""
    folder = lab.data("nova/instances") / uuid
    names = [path.name for path in folder.iterdir() if path.name not in NOT_DISKS]
    if "ceph" in lab.options.backends:
        images = _rbd("ls", "--format", "json", DISKS)
        names += [f"{DISKS}/{image}" for image in images if image.startswith(uuid)]
    return sorted(names)


def count(lines: Iterable[str]) -> str:
    """Return how many attachments Cinder and each backend list."""
    numbers: dict[str, int] = {}
    for line in lines:
        who = line.partition(" ")[0]
        numbers[who] = numbers.get(who, 0) + 1
    return ", ".join(f"{number} by {who}" for who, number in numbers.items())


def changes(before: Iterable[str], after: Iterable[str]) -> Iterator[str]:
    """Yield the lines that only one of two listings has."""
    old, new = set(before), set(after)
    yield from (f"gone: {line}" for line in sorted(old - new))
    yield from (f"new: {line}" for line in sorted(new - old))


def summary(changed: Sequence[str]) -> str:
    """Return a few words that say whether anything changed."""
    return f"{len(changed)} changes" if changed else "no change"


def first_bytes(volume: Any, length: int) -> bytes:
    """Return the first bytes of a volume, as stored in Ceph."""
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
    for attachment in answer.json()["attachments"]:
        if attachment["volume_id"] in ids:
            yield (
                f"Cinder {attachment['volume_id']} {attachment['status']}"
                f" {attachment['attach_mode']} by {attachment['id']}"
            )


def _of_storpool(lab: Lab) -> Iterator[str]:
    token = (lab.etc("storpool") / "token").read_text().strip()
    request = urllib.request.Request(
        f"{lab.url('storpool')}/ctrl/1.0/AttachmentsList",
        headers={"Authorization": f"Storpool v1:{token}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        for attachment in json.load(answer)["data"]:
            volume, rights = attachment["volume"], attachment["rights"]
            exists = (Path("/dev/storpool") / volume).exists()
            device = "a device" if exists else "NO device"
            yield f"StorPool {volume} {rights}, {device} on the host"


def _of_ceph(ids: set[str]) -> Iterator[str]:
    for image in _rbd("ls", "--format", "json", VOLUMES):
        if image.removeprefix("volume-") in ids:
            status = _rbd("status", "--format", "json", f"{VOLUMES}/{image}")
            yield f"Ceph {image} opened {len(status['watchers'])} times"


def _rbd(*words: str) -> Any:
    completed = subprocess.run(
        ["rbd", "--id", USER, *words], check=True, capture_output=True, text=True
    )
    return json.loads(completed.stdout)
