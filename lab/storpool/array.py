# SPDX-License-Identifier: Apache-2.0
"""The stand-in for a StorPool array; volumes and snapshots are sparse files."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab.storpool.client import Client, InUseError

#: A file in the array's folder. A benchmark writes to it, to slow attachments down.
CONNECT_DELAY = "connect-delay"
ALLOCATION_GROUP = 512 * 1024**2  # bytes; the unit of capacity in Cinder's driver


class ArrayError(Exception):
    """An error of the API; the callers of os-brick decide by ``name``."""

    def __init__(self, name: str, description: str) -> None:
        super().__init__(f"{name}: {description}")
        self.name = name
        self.description = description


@dataclass
class Volume:
    """A volume or a snapshot; a snapshot is never attached."""

    name: str
    global_id: str
    size: int  # bytes
    template: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    attached: str | None = None  # "rw", "ro", or None if it is not attached


class Array:
    """Volumes and snapshots in ``folder``, attached through ``client``.

    A new Array of the same folder attaches the attached volumes again. Every method may
    raise ArrayError and may be called from several threads.
    """

    def __init__(self, folder: Path, client: Client) -> None:
        self._folder = folder
        self._client = client
        self._state = folder / "state.json"
        self._lock = threading.RLock()
        self._next = 1
        self._volumes: dict[str, Volume] = {}
        self._snapshots: dict[str, Volume] = {}
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._state.exists():
            self._load()

    # -- content ------------------------------------------------------------------

    def disks(self) -> dict[str, dict[str, int]]:
        """Return the only disk, which is the file system of ``folder``."""
        filesystem = os.statvfs(self._folder)
        count = filesystem.f_blocks * filesystem.f_frsize // ALLOCATION_GROUP
        free = filesystem.f_bavail * filesystem.f_frsize // ALLOCATION_GROUP
        return {
            "1": {
                "generationLeft": -1,  # neither ejected nor missing
                "agCount": count,
                "agFree": free,
                "agAllocated": count - free,
            }
        }

    def volumes(self) -> list[dict[str, Any]]:
        """Return all volumes as the API shows them."""
        with self._lock:
            return [_shown(volume) for volume in self._volumes.values()]

    def volume(self, name: str) -> dict[str, Any]:
        """Return one volume as the API shows it."""
        with self._lock:
            return _shown(self._find(self._volumes, name))

    def attachments(self) -> list[dict[str, Any]]:
        """Return the attachments as the API shows them; all are to client 1."""
        with self._lock:
            return [
                {
                    "volume": volume.name,
                    "globalId": volume.global_id,
                    "client": 1,
                    "rights": volume.attached,
                    "snapshot": False,
                }
                for volume in self._volumes.values()
                if volume.attached
            ]

    # -- volumes ------------------------------------------------------------------

    def create(self, request: Mapping[str, Any]) -> None:
        """Create an empty volume, or a copy of a snapshot or of another volume."""
        with self._lock:
            source = None
            if "parent" in request:
                source = self._find(self._snapshots, request["parent"])
            elif "baseOn" in request:
                source = self._find(self._volumes, request["baseOn"])
            size = request.get("size", source.size if source else None)
            if not isinstance(size, int) or size <= 0 or size % 512:
                raise ArrayError(
                    "invalidParam", f"size {size!r} is not a multiple of 512"
                )
            if source and size < source.size:
                raise ArrayError(
                    "invalidParam", f"size {size} is less than the source's size"
                )
            volume = self._new(self._volumes, request["name"], size)
            volume.template = request.get("template", source and source.template)
            self._fill(volume, source)
            self._volumes[volume.name] = volume
            self._save()

    def update(self, name: str, request: Mapping[str, Any]) -> None:
        """Grow or rename a volume, or give it another template."""
        with self._lock:
            volume = self._find(self._volumes, name)
            size = request.get("size", volume.size)
            if size < volume.size:
                raise ArrayError("invalidParam", "a volume cannot shrink")
            new_name = request.get("rename", volume.name)
            if new_name != volume.name and new_name in self._volumes:
                raise ArrayError("objectExists", f"volume {new_name} exists")
            if size != volume.size:
                os.truncate(self._file(volume), size)
                volume.size = size
                self._client.resize(volume.global_id)
            if new_name != volume.name:
                self._client.rename(volume.global_id, volume.name, new_name)
                del self._volumes[volume.name]
                volume.name = new_name
                self._volumes[new_name] = volume
            volume.template = request.get("template", volume.template)
            self._save()

    def delete(self, name: str) -> None:
        """Delete a volume that is not attached."""
        with self._lock:
            volume = self._find(self._volumes, name)
            self._refuse_attached(volume)
            del self._volumes[volume.name]
            self._save()
            self._file(volume).unlink()

    def revert(self, name: str, snapshot: str) -> None:
        """Give a volume that is not attached the content of a snapshot."""
        with self._lock:
            volume = self._find(self._volumes, name)
            source = self._find(self._snapshots, snapshot)
            self._refuse_attached(volume)
            self._fill(volume, source)

    def reassign(self, changes: list[Mapping[str, Any]]) -> None:
        """Attach and detach volumes; every client number means this host.

        An attachment takes as many seconds more as the file CONNECT_DELAY says, also of
        a volume that is attached already. Attachments may overlap, as with an array.
        """
        if any(change.get(mode) for change in changes for mode in ("rw", "ro")):
            time.sleep(self._connect_delay())
        with self._lock:
            for change in changes:
                if "snapshot" in change:  # a snapshot is never attached
                    self._find(self._snapshots, change["snapshot"])
                    continue
                volume = self._find(self._volumes, change["volume"])
                if change.get("detach"):
                    self._detach(volume, force=bool(change.get("force")))
                for mode in ("rw", "ro"):
                    if change.get(mode):
                        self._attach(volume, mode)

    # -- snapshots ----------------------------------------------------------------

    def snapshot(self, name: str, snapshot: str) -> None:
        """Create a snapshot of a volume, which may be in use."""
        with self._lock:
            source = self._find(self._volumes, name)
            copy = self._new(self._snapshots, snapshot, source.size)
            copy.template = source.template
            self._fill(copy, source)
            self._snapshots[copy.name] = copy
            self._save()

    def update_snapshot(self, name: str, request: Mapping[str, Any]) -> None:
        """Give a snapshot another template or more tags."""
        with self._lock:
            snapshot = self._find(self._snapshots, name)
            snapshot.template = request.get("template", snapshot.template)
            snapshot.tags.update(request.get("tags", {}))
            self._save()

    def delete_snapshot(self, name: str) -> None:
        """Delete a snapshot; copies of it do not depend on it."""
        with self._lock:
            snapshot = self._find(self._snapshots, name)
            del self._snapshots[snapshot.name]
            self._save()
            self._file(snapshot).unlink()

    # -- internal -----------------------------------------------------------------

    def _connect_delay(self) -> float:
        try:
            return float((self._folder / CONNECT_DELAY).read_text())
        except FileNotFoundError:
            return 0.0

    def _attach(self, volume: Volume, mode: str) -> None:
        if volume.attached not in (None, mode):
            raise ArrayError(
                "invalidParam", f"volume {volume.name} is attached {volume.attached}"
            )
        self._client.connect(
            volume.global_id, volume.name, self._file(volume), read_only=mode == "ro"
        )
        volume.attached = mode
        self._save()

    def _detach(self, volume: Volume, *, force: bool) -> None:
        try:
            self._client.disconnect(volume.global_id, volume.name, force=force)
        except InUseError as error:
            # os-brick waits and tries again if the message contains "is open at".
            raise ArrayError(
                "busy", f"volume {volume.name} is open at client 1: {error}"
            ) from error
        volume.attached = None
        self._save()

    def _refuse_attached(self, volume: Volume) -> None:
        if volume.attached:
            raise ArrayError("busy", f"volume {volume.name} is attached")

    def _find(self, among: dict[str, Volume], name: str) -> Volume:
        """Return the one with this name; ``~`` marks a global id."""
        for volume in among.values():
            if name in (volume.name, f"~{volume.global_id}"):
                return volume
        raise ArrayError("objectDoesNotExist", f"{name} does not exist")

    def _new(self, among: dict[str, Volume], name: str, size: int) -> Volume:
        if name in among:
            raise ArrayError("objectExists", f"{name} exists")
        volume = Volume(name, f"lab.b.{self._next}", size)
        self._next += 1
        return volume

    def _file(self, volume: Volume) -> Path:
        return self._folder / f"{volume.global_id}.raw"

    def _fill(self, volume: Volume, source: Volume | None) -> None:
        """Make the volume's file, a copy of the source's file or one large hole."""
        file = self._file(volume)
        temporary = file.with_suffix(".new")
        try:
            if source is None:
                temporary.touch(mode=0o600)
            else:
                self._client.flush(source.global_id)
                subprocess.run(
                    ["cp", "--sparse=always", "--reflink=auto", "--",
                     self._file(source), temporary],
                    check=True,
                )  # fmt: skip
            os.truncate(temporary, volume.size)
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)

    def _load(self) -> None:
        state = json.loads(self._state.read_text())
        self._next = state["next"]
        self._volumes = {v["name"]: Volume(**v) for v in state["volumes"]}
        self._snapshots = {v["name"]: Volume(**v) for v in state["snapshots"]}
        for volume in self._volumes.values():
            if volume.attached:
                self._attach(volume, volume.attached)

    def _save(self) -> None:
        state = {
            "next": self._next,
            "volumes": [asdict(volume) for volume in self._volumes.values()],
            "snapshots": [asdict(volume) for volume in self._snapshots.values()],
        }
        temporary = self._state.with_suffix(".new")
        temporary.write_text(json.dumps(state, indent=1))
        temporary.replace(self._state)


def _shown(volume: Volume) -> dict[str, Any]:
    return {
        "name": volume.name,
        "globalId": volume.global_id,
        "size": volume.size,
        "templateName": volume.template,
        "tags": volume.tags,
    }
