# SPDX-License-Identifier: Apache-2.0
"""A storage backend for Nova's volume drivers: devices are files in a folder."""

import threading
from pathlib import Path
from typing import Any

from nova.virt.libvirt.volume import volume
from os_brick import exception


class Storage:
    """A backend, and what a host has connected of it.

    ``broken`` are the volumes that cannot be connected, ``unreadable`` those whose
    device fails; ``events`` is what was asked for, in order.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.broken: set[str] = set()
        self.unreadable: set[str] = set()
        self.events: list[tuple[str, str]] = []
        self.most_at_once = 0
        #: Connecting waits for this many at once, or gives up soon.
        self.together = 1
        self._at_once = 0
        self._turn = threading.Condition()
        self._boots = 0

    def connected(self) -> list[str]:
        """Return the ids of the volumes that are connected."""
        return sorted(path.name for path in self.folder.glob("*/*"))

    def reboot(self) -> None:
        """Start the host again: nothing is connected, and devices have other names."""
        for path in self.folder.glob("*/*"):
            path.unlink()
        self._boots += 1

    def path(self, volume_id: str) -> Path:
        """Return the device that a volume becomes when it is connected now."""
        found = list(self.folder.glob(f"*/{volume_id}"))
        return found[0] if found else self.folder / f"boot{self._boots}" / volume_id

    def connect(self, volume_id: str) -> str:
        """Connect a volume; return its device."""
        with self._turn:
            self.events.append(("connect", volume_id))
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            self._turn.notify_all()
            self._turn.wait_for(lambda: self.most_at_once >= self.together, 10)
        try:
            if volume_id in self.broken:
                raise exception.TargetPortalNotFound(target_portal="192.0.2.1:3260")
            path = self.path(volume_id)
            path.parent.mkdir(exist_ok=True)
            path.touch()
            return str(path)
        finally:
            with self._turn:
                self._at_once -= 1

    def disconnect(self, volume_id: str) -> None:
        """Disconnect a volume."""
        self.events.append(("disconnect", volume_id))
        self.path(volume_id).unlink()


class Connector:
    """What stands for os-brick's."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def get_volume_paths(self, data: dict[str, Any]) -> list[str]:
        """Return where a volume is, if it is connected."""
        path = self._storage.path(data["volume_id"])
        return [str(path)] if path.exists() else []

    def check_valid_device(self, path: str) -> bool:
        """Say whether a device can be read."""
        return Path(path).name not in self._storage.unreadable


class StorageVolumeDriver(volume.LibvirtVolumeDriver):
    """Nova's side of it, as that of StorPool."""

    #: Nova makes a driver for each nova-compute, with the host alone.
    storage: Storage

    def __init__(self, host: Any) -> None:
        super().__init__(host)
        self.connector = Connector(self.storage)

    def connect_volume(self, connection_info: dict[str, Any], instance: Any) -> None:
        """Connect a volume and tell its device."""
        data = connection_info["data"]
        data["device_path"] = self.storage.connect(data["volume_id"])

    def disconnect_volume(
        self, connection_info: dict[str, Any], instance: Any, force: bool = False
    ) -> None:
        """Disconnect a volume; as StorPool's, it needs the device to know it by."""
        assert connection_info["data"]["device_path"]
        self.storage.disconnect(connection_info["data"]["volume_id"])
