# SPDX-License-Identifier: Apache-2.0
"""A storage backend whose devices are files, and Nova's volume driver for it."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nova.virt.libvirt.volume import volume
from os_brick import exception


class Storage:
    """A storage backend, and the volumes that a host has connected.

    ``broken`` holds the volumes that cannot be connected, ``unreadable`` those whose
    device cannot be read. ``moved`` has the new files of volumes, after snapshots.
    ``events`` lists all connects and disconnects in order. ``answer`` is called before
    the storage answers a check of a volume.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.broken: set[str] = set()
        self.unreadable: set[str] = set()
        self.moved: dict[str, Path] = {}
        self.events: list[tuple[str, str]] = []
        self.answer: Callable[[], None] = lambda: None
        #: The highest number of connects that ran at once.
        self.most_at_once = 0
        #: Each connect waits up to ten seconds until so many run at once.
        self.wait_for_parallel = 1
        self._running = 0
        self._running_changed = threading.Condition()
        self._boots = 0

    def connected(self) -> list[str]:
        """Return the ids of the volumes that are connected."""
        return sorted(path.name for path in self.folder.glob("*/*"))

    def reboot(self) -> None:
        """Reboot the host: no volume is connected, and devices get other paths."""
        for path in self.folder.glob("*/*"):
            path.unlink()
        self._boots += 1

    def path(self, volume_id: str) -> Path:
        """Return the device of a connected volume, or the one that it would get now."""
        if volume_id in self.moved:
            return self.moved[volume_id]
        devices = list(self.folder.glob(f"*/{volume_id}"))
        return devices[0] if devices else self.folder / f"boot{self._boots}" / volume_id

    def connect(self, volume_id: str) -> str:
        """Connect a volume; return its device."""
        with self._running_changed:
            self.events.append(("connect", volume_id))
            self._running += 1
            self.most_at_once = max(self.most_at_once, self._running)
            self._running_changed.notify_all()
            self._running_changed.wait_for(
                lambda: self.most_at_once >= self.wait_for_parallel, 10
            )
        try:
            if volume_id in self.broken:
                raise exception.TargetPortalNotFound(target_portal="192.0.2.1:3260")
            path = self.path(volume_id)
            path.parent.mkdir(exist_ok=True)
            path.touch()
            return str(path)
        finally:
            with self._running_changed:
                self._running -= 1

    def disconnect(self, volume_id: str) -> None:
        """Disconnect a volume; like os-brick, do nothing if it is not connected."""
        self.events.append(("disconnect", volume_id))
        self.path(volume_id).unlink(missing_ok=True)


class Connector:
    """Replaces a connector of os-brick."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def get_volume_paths(self, data: dict[str, Any]) -> list[str]:
        """Return the path of a volume's device if the volume is connected."""
        self._storage.answer()
        path = self._storage.path(data["volume_id"])
        return [str(path)] if path.exists() else []

    def check_valid_device(self, path: str) -> bool:
        """Return True if the device can be read."""
        self._storage.answer()
        return Path(path).name not in self._storage.unreadable


class StorageVolumeDriver(volume.LibvirtVolumeDriver):
    """Nova's volume driver for the storage; it behaves like the one for StorPool."""

    #: Nova passes nothing but the host to a driver, so tests set the storage here.
    storage: Storage

    def __init__(self, host: Any) -> None:
        super().__init__(host)
        self.connector = Connector(self.storage)

    def connect_volume(self, connection_info: dict[str, Any], instance: Any) -> None:
        """Connect a volume and note its device in the connection_info."""
        data = connection_info["data"]
        data["device_path"] = self.storage.connect(data["volume_id"])

    def disconnect_volume(
        self, connection_info: dict[str, Any], instance: Any, force: bool = False
    ) -> None:
        """Disconnect a volume; like StorPool's driver, this needs the device."""
        assert connection_info["data"]["device_path"]
        self.storage.disconnect(connection_info["data"]["volume_id"])
