# SPDX-License-Identifier: Apache-2.0
"""Cinder volumes on this host, through Nova's volume drivers and os-brick."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from oslo_log import log as logging

from stable_rescue import steps
from stable_rescue.nova_internals.disks import text_of

if TYPE_CHECKING:
    from nova import context as nova_context
    from nova import objects
    from nova.virt.libvirt import driver as libvirt_driver

LOG = logging.getLogger(__name__)


def connector_of(
    driver: libvirt_driver.LibvirtDriver, connection_info: dict[str, Any]
) -> Any:
    """Return os-brick's connector for a volume; None if its driver uses none.

    :raises nova.exception.VolumeDriverNotFound: if the host has no driver for it
    """
    volume_driver = driver._get_volume_driver(connection_info)
    return getattr(volume_driver, "connector", None)


@steps.changes("connect a volume")
def connect_volume(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: objects.Instance,
    connection_info: dict[str, Any],
) -> None:
    """Connect a volume to the host as a hard reboot does, even if it is connected.

    Nova makes a missing secret of an encrypted volume, and writes the path of the
    device into connection_info. Errors of the volume's driver propagate.
    """
    driver._connect_volume(context, connection_info, instance)


@steps.changes("disconnect a volume")
def disconnect_volume(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: objects.Instance,
    connection_info: dict[str, Any],
    keep_secret: bool,
) -> None:
    """Disconnect a volume from the host, unless another server here uses it.

    Errors of the volume's driver propagate.
    """
    driver._disconnect_volume(
        context, connection_info, instance, destroy_secrets=not keep_secret
    )


@contextlib.contextmanager
def volume_lock(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    volume_id: str,
) -> Iterator[None]:
    """Hold the lock that Nova holds while it attaches or detaches a volume.

    os-brick needs the lock for a backend whose volumes share a target. If Cinder does
    not answer whether they do, there is no lock, as in Nova's hard reboot.
    """
    from nova.virt.block_device import DriverVolumeBlockDevice
    from os_brick.initiator import utils as brick_utils

    try:
        volume = DriverVolumeBlockDevice._get_volume(
            context, driver._volume_api, volume_id
        )
    except Exception:
        LOG.warning(
            "Failed to get volume %s from Cinder; connecting the volume without "
            "os-brick's lock",
            volume_id,
            exc_info=True,
        )
        volume = {}
    with brick_utils.guard_connection(volume):
        yield


def volume_disk_xml(
    driver: libvirt_driver.LibvirtDriver,
    connection_info: dict[str, Any],
    mapping: dict[str, str],
) -> str:
    """Return the <disk> element that Nova writes for a connected volume.

    Errors of the volume's driver propagate.

    :param mapping: the disk's bus, dev and type, as in Nova's disk_info
    """
    # Like Nova's _get_volume_config, whose signature changed in Nova 34.
    volume_driver = driver._get_volume_driver(connection_info)
    return text_of(volume_driver.get_config(connection_info, mapping))


def has_volume_secret(driver: libvirt_driver.LibvirtDriver, volume_id: str) -> bool:
    """Return True if libvirt has the secret of an encrypted volume."""
    return driver._host.find_secret("volume", volume_id) is not None


@steps.changes("make a volume's secret")
def make_volume_secret(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    connection_info: dict[str, Any],
) -> None:
    """Make the libvirt secret of a volume that QEMU decrypts, if it is missing.

    Errors of Cinder and of the key manager propagate.
    """
    # If Nova gets a device without a LUKS header, it formats the device.
    data = {k: v for k, v in connection_info["data"].items() if k != "device_path"}
    driver._attach_encryptor(context, {**connection_info, "data": data}, None)


def volume_api_of(driver: libvirt_driver.LibvirtDriver) -> Any:
    """Return the driver's nova.volume.cinder.API."""
    return driver._volume_api
