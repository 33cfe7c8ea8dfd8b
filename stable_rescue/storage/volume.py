# SPDX-License-Identifier: Apache-2.0
"""One volume of a server: in Nova's mapping, in the definition, on this host."""

import copy
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
from stable_rescue.domain import document, recognise, sources
from stable_rescue.domain.document import Domain
from stable_rescue.storage import rbd

LOG = logging.getLogger(__name__)

# A LUKS header, at most, by which an opened device is smaller than its volume.
_HEADER_BYTES = 16 * units.Mi


@dataclass(frozen=True)
class Volume:
    """A volume that both Nova's mapping and the definition have."""

    device: Any  # Nova's DriverVolumeBlockDevice
    disk: etree._Element

    @property
    def serial(self) -> str:
        """What libvirt and Nova call it by: the volume's id."""
        return serial_of(self.device)

    @property
    def target(self) -> str:
        """The name of its target, such as vdb."""
        return document.target_of(self.disk)[0]

    @property
    def bytes(self) -> int:
        """Its size by Nova's database; 0 where that does not tell."""
        return int(self.device.volume_size or 0) * units.Gi

    @property
    def name(self) -> str:
        """What its owner calls it."""
        return f"volume {self.serial} ({self.target})"

    def connection_info(self) -> dict[str, Any]:
        """Return a copy of its connection_info: Nova's drivers write into it."""
        return copy.deepcopy(dict(self.device["connection_info"]))

    def mapping(self) -> dict[str, str]:
        """Return it as Nova's drivers want to know of it."""
        dev, bus = document.target_of(self.disk)
        return {"dev": dev, "bus": bus, "type": self.disk.get("device", "disk")}


def volumes_of(block_device_info: dict[str, Any], domain: Domain) -> list[Volume]:
    """Return the volumes to look after; one that is not in the guest is not needed."""
    disks = list(domain.disks())
    by_serial = {sources.serial_of(disk): disk for disk in disks}
    by_target = {
        document.target_of(disk)[0]: disk
        for disk in disks
        # The rescue disk may have taken a name that was free.
        if not sources.serial_of(disk)
        and disk.find(f"alias[@name='{recognise.RESCUE_ALIAS}']") is None
    }
    found = []
    for device in virt_driver.block_device_info_get_mapping(block_device_info):
        disk = by_serial.get(serial_of(device))
        if disk is None:
            disk = by_target.get(target_of(device["mount_device"]))
        if disk is not None and device["connection_info"]:
            found.append(Volume(device, disk))
    return found


def serial_of(device: Any) -> str:
    """Return what libvirt calls a volume of Nova's mapping by."""
    info = device["connection_info"] or {}
    return str(info.get("serial") or device.volume_id)


def target_of(device_name: str | None) -> str:
    """Return the target name in one of Nova's device names; empty where none."""
    return str(block_device.strip_dev(device_name) or "")


def is_there(
    driver: libvirt_driver.LibvirtDriver, volume: Volume, info: dict[str, Any]
) -> bool:
    """Say whether a volume is connected already; yes, where that is not to be told."""
    connector = nova_internals.connector_of(driver, info)
    if connector is None:
        path = sources.path_of(volume.disk)
        # What is neither a device nor a file has nothing that could stay.
        return path is not None and os.path.exists(path)  # noqa: PTH110
    # StorPool's takes offence at a path that it has given itself.
    data = {k: v for k, v in info["data"].items() if k != "device_path"}
    try:
        paths = connector.get_volume_paths(data)
    except Exception:
        LOG.debug("%s: where it would be is not known", volume.name, exc_info=True)
        return True
    return any(map(os.path.exists, paths))


def check(
    driver: libvirt_driver.LibvirtDriver,
    volume: Volume,
    info: dict[str, Any],
    path: str | None,
) -> None:
    """Check a volume by what this host sees of it.

    :raises Refused: where it is not there, cannot be read, or is too small
    """
    if info.get("driver_volume_type") == "rbd":
        actual = rbd.size_of(info["data"], volume.name)
    elif path is None:
        return
    else:
        actual = _size_of(driver, volume, info, path)
    least = volume.bytes - (_HEADER_BYTES if info["data"].get("encrypted") else 0)
    if actual is not None and actual < least:
        raise exception.Refused(
            f"{volume.name} has {actual} bytes on the compute host, fewer than its "
            f"{volume.bytes}"
        )


def _size_of(
    driver: libvirt_driver.LibvirtDriver,
    volume: Volume,
    info: dict[str, Any],
    path: str,
) -> int | None:
    """Return a device's size in bytes; None: of a file, its format would tell."""
    try:
        is_device = stat.S_ISBLK(os.stat(path).st_mode)  # noqa: PTH116
    except PermissionError as exc:
        # A share that lets only QEMU's user in.
        LOG.info("%s: nova-compute may not look at it: %s", volume.name, exc)
        return None
    except OSError as exc:
        LOG.error("%s: %s", volume.name, exc)
        raise exception.Refused(
            f"{volume.name} is not there on the compute host"
        ) from exc
    connector = nova_internals.connector_of(driver, info)
    if connector is None:
        return None
    if not connector.check_valid_device(path):
        raise exception.Refused(f"{volume.name} cannot be read on the compute host")
    return brick_utils.get_device_size(connector, path) if is_device else None
