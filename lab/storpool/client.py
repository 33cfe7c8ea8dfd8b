# SPDX-License-Identifier: Apache-2.0
"""The stand-in for StorPool's kernel client: block devices and the links to them."""

from __future__ import annotations

import os
from pathlib import Path

from lab.storpool.loop import LoopDevice


class InUseError(Exception):
    """The processes named in the message have the device open."""


class Client:
    """The block devices of this host, by global id.

    As with the real client, ``storpool/<name>`` and ``storpool-byid/<global id>`` in
    ``dev`` (normally /dev) are links to the device. os-brick uses both.
    """

    def __init__(self, dev: Path = Path("/dev")) -> None:
        self._by_name = dev / "storpool"
        self._by_id = dev / "storpool-byid"
        self._devices: dict[str, LoopDevice] = {}
        for folder in (self._by_name, self._by_id):
            folder.mkdir(exist_ok=True)
            for stale in folder.iterdir():
                stale.unlink()

    def connect(
        self, global_id: str, name: str, backing: Path, *, read_only: bool
    ) -> None:
        """Make the device of ``backing``, or take over an existing one."""
        if global_id not in self._devices:
            device = LoopDevice.find(backing)
            if device is None:
                device = LoopDevice.attach(backing, read_only=read_only)
            self._devices[global_id] = device
        target = self._devices[global_id].path
        _link(self._by_id / global_id, target)
        _link(self._by_name / name, target)

    def disconnect(self, global_id: str, name: str, *, force: bool) -> None:
        """Remove the device; do nothing if there is none.

        :raises InUseError: if the device is open, unless ``force`` is True
        """
        device = self._devices.get(global_id)
        if device is None:
            return
        users = device.users()
        if users and not force:
            raise InUseError(f"process {', '.join(map(str, users))}")
        (self._by_name / name).unlink(missing_ok=True)
        (self._by_id / global_id).unlink(missing_ok=True)
        del self._devices[global_id]
        device.close()

    def flush(self, global_id: str) -> None:
        """Write the data that the kernel has cached for the device to its file."""
        if global_id in self._devices:
            self._devices[global_id].flush()

    def resize(self, global_id: str) -> None:
        """Make the device as large as its file is now."""
        if global_id in self._devices:
            self._devices[global_id].resize()

    def rename(self, global_id: str, old: str, new: str) -> None:
        """Replace the link with the volume's old name."""
        if global_id in self._devices:
            (self._by_name / old).unlink(missing_ok=True)
            _link(self._by_name / new, self._devices[global_id].path)


def _link(link: Path, target: Path) -> None:
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.symlink_to(target)
    temporary.replace(link)
