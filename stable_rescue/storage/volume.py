# SPDX-License-Identifier: Apache-2.0
"""One volume of a server: in Nova's mapping, in the definition and on this host."""

import copy
import functools
import os
import stat
from dataclasses import dataclass
from typing import Any

from lxml import etree
from nova import block_device
from nova.virt import driver as virt_driver
from nova.virt.libvirt import driver as libvirt_driver
from os_brick import utils as brick_utils
from oslo_log import log as logging
from oslo_utils import units

from stable_rescue import exception, nova_internals
from stable_rescue.domain import document, mapping, sources
from stable_rescue.domain.document import Domain
from stable_rescue.storage import deadline, rbd

LOG = logging.getLogger(__name__)

# The largest LUKS header: an opened device is smaller than its volume by the header.
_HEADER_BYTES = 16 * units.Mi


@dataclass(frozen=True)
class Volume:
    """A volume that is in Nova's block device mapping and in the definition.

    ``device`` is Nova's DriverVolumeBlockDevice, ``disk`` the <disk> element.
    """

    device: Any
    disk: etree._Element

    @property
    def serial(self) -> str:
        """The volume's id, which libvirt and Nova use as the disk's serial."""
        return serial_of(self.device)

    @property
    def is_swapped(self) -> bool:
        """True if the disk has the serial of another volume, before Nova's swap."""
        return sources.serial_of(self.disk) not in ("", self.serial)

    @property
    def target(self) -> str:
        """The name of the disk's target, such as vdb."""
        return document.target_of(self.disk)[0]

    @property
    def bytes(self) -> int:
        """The size in Nova's database; 0 if the database has none."""
        return int(self.device.volume_size or 0) * units.Gi

    @property
    def name(self) -> str:
        """The volume as messages name it."""
        return f"volume {self.serial} ({self.target})"

    def connection_info(self) -> dict[str, Any]:
        """Return a copy of the connection_info; Nova's drivers modify what they get."""
        return copy.deepcopy(dict(self.device["connection_info"]))

    def mapping(self) -> dict[str, str]:
        """Return the disk's dev, bus and type, as in Nova's disk_info."""
        dev, bus = document.target_of(self.disk)
        return {"dev": dev, "bus": bus, "type": self.disk.get("device", "disk")}


def volumes_of(block_device_info: dict[str, Any], domain: Domain) -> list[Volume]:
    """Return the mapped volumes that the definition has; a rescue needs no others."""
    disks = mapping.disks_of(domain, targets_of(block_device_info))
    return [
        Volume(device, disks[serial_of(device)])
        for device in virt_driver.block_device_info_get_mapping(block_device_info)
        if serial_of(device) in disks and device["connection_info"]
    ]


def targets_of(block_device_info: dict[str, Any]) -> dict[str, str]:
    """Return the target name of each mapped volume by its serial."""
    return {
        serial_of(device): target_of_device(device["mount_device"])
        for device in virt_driver.block_device_info_get_mapping(block_device_info)
    }


def serial_of(device: Any) -> str:
    """Return the serial that libvirt has for a volume of Nova's mapping."""
    info = device["connection_info"] or {}
    return str(info.get("serial") or device.volume_id)


def target_of_device(device_name: str | None) -> str:
    """Return the target name in one of Nova's device names, "" if there is none."""
    return str(block_device.strip_dev(device_name) or "")


def lacks_secret(driver: libvirt_driver.LibvirtDriver, volume: Volume) -> bool:
    """Return True if QEMU decrypts a volume, but libvirt has lost its secret."""
    encrypted = volume.disk.find(".//encryption/secret") is not None
    return encrypted and not nova_internals.has_volume_secret(driver, volume.serial)


def is_connected(
    driver: libvirt_driver.LibvirtDriver, volume: Volume, info: dict[str, Any]
) -> bool:
    """Return True if a volume is connected to this host, or if that is unknown.

    :raises Refused: if the storage does not answer within ``volume_check_timeout``
    """
    return deadline.limited(
        volume.name, functools.partial(_is_connected, driver, volume, info)
    )


def _is_connected(
    driver: libvirt_driver.LibvirtDriver, volume: Volume, info: dict[str, Any]
) -> bool:
    connector = nova_internals.connector_of(driver, info)
    if connector is None:
        path = sources.path_of(volume.disk)
        # A volume without a connector is connected if its device or file exists.
        return path is not None and os.path.exists(path)  # noqa: PTH110
    # StorPool's connector rejects the device_path that it returned earlier.
    data = {k: v for k, v in info["data"].items() if k != "device_path"}
    try:
        paths = connector.get_volume_paths(data)
    except Exception:
        LOG.debug("Failed to get the paths of %s", volume.name, exc_info=True)
        return True
    return any(map(os.path.exists, paths))


def check(
    driver: libvirt_driver.LibvirtDriver,
    volume: Volume,
    info: dict[str, Any],
    path: str | None,
) -> None:
    """Check that this host can read a volume in its full size.

    :raises Refused: if the volume is missing, unreadable or too small, or if the
        storage does not answer within ``volume_check_timeout``
    """
    deadline.limited(volume.name, functools.partial(_check, driver, volume, info, path))


def _check(
    driver: libvirt_driver.LibvirtDriver,
    volume: Volume,
    info: dict[str, Any],
    path: str | None,
) -> None:
    if info.get("driver_volume_type") == "rbd":
        source = volume.disk.find("source")
        if volume.is_swapped and (
            source is None or source.get("name") != info["data"].get("name")
        ):
            raise exception.Refused(
                f"{volume.name} is not the disk {volume.target} in the server's "
                "definition; ask the operator"
            )
        actual = rbd.size_of(info["data"], volume.name)
    elif path is None:
        return
    else:
        actual = _size_of(driver, volume, info, path)
    least = volume.bytes - (_HEADER_BYTES if info["data"].get("encrypted") else 0)
    if actual is not None and actual < least:
        raise exception.Refused(
            f"{volume.name} has {actual} bytes on the compute host, less than its "
            f"size of {volume.bytes} bytes; ask the operator"
        )


def _size_of(
    driver: libvirt_driver.LibvirtDriver,
    volume: Volume,
    info: dict[str, Any],
    path: str,
) -> int | None:
    """Return the size of a device in bytes; None for a file, which has a format."""
    try:
        is_device = stat.S_ISBLK(os.stat(path).st_mode)  # noqa: PTH116
    except PermissionError as exc:
        # Some shares give access to QEMU's user only (F10).
        LOG.info("nova-compute has no access to %s, not checked: %s", volume.name, exc)
        return None
    except OSError as exc:
        LOG.error("Failed to find %s on this host: %s", volume.name, exc)
        raise exception.Refused(
            f"{volume.name} is missing on the compute host; ask the operator"
        ) from exc
    connector = nova_internals.connector_of(driver, info)
    if connector is None:
        return None
    if not connector.check_valid_device(path):
        raise exception.Refused(
            f"{volume.name} cannot be read on the compute host; ask the operator"
        )
    return brick_utils.get_device_size(connector, path) if is_device else None
