# SPDX-License-Identifier: Apache-2.0
"""Cinder's volumes, through Nova's volume drivers and os-brick."""

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
    """Return os-brick's connector for a volume; None: its driver has no need of one.

    :raises nova.exception.VolumeDriverNotFound: where the host knows no such volumes
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
    """Connect a volume to the host as Nova's hard reboot does; one there stays.

    The secret of an encrypted volume is made where it is missing. Nova writes into
    connection_info what device it has become.

    :raises Exception: what the volume's driver raises
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
    """Disconnect a volume from the host, unless another server here has it too.

    :raises Exception: what the volume's driver raises
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
    """Hold the lock that Nova holds around the attachment of a volume.

    It is os-brick's, for backends whose volumes share a target, and keeps others of
    this host from attaching and detaching volumes there. Where Cinder does not say
    whether there is need for it, it is not taken: so does Nova's hard reboot.
    """
    from nova.virt.block_device import DriverVolumeBlockDevice
    from os_brick.initiator import utils as brick_utils

    try:
        volume = DriverVolumeBlockDevice._get_volume(
            context, driver._volume_api, volume_id
        )
    except Exception:
        LOG.warning("Volume %s: connecting without its lock", volume_id, exc_info=True)
        volume = {}
    with brick_utils.guard_connection(volume):
        yield


def volume_disk_xml(
    driver: libvirt_driver.LibvirtDriver,
    connection_info: dict[str, Any],
    mapping: dict[str, str],
) -> str:
    """Return the <disk> element that Nova writes for a connected volume.

    :param mapping: the disk's bus, dev and type, as in Nova's disk_info
    :raises Exception: where Nova cannot make anything of the connection_info
    """
    # (Nova's _get_volume_config, which takes other arguments in 34.)
    volume_driver = driver._get_volume_driver(connection_info)
    return text_of(volume_driver.get_config(connection_info, mapping))


def has_volume_secret(driver: libvirt_driver.LibvirtDriver, volume_id: str) -> bool:
    """Say whether libvirt has the secret of an encrypted volume."""
    return driver._host.find_secret("volume", volume_id) is not None


@steps.changes("make a volume's secret")
def make_volume_secret(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    connection_info: dict[str, Any],
) -> None:
    """Make the libvirt secret of a natively encrypted volume, where it is missing.

    :raises Exception: where Cinder or the key manager does not give the key
    """
    # Told of a device, Nova would format one on which it finds no LUKS.
    data = {k: v for k, v in connection_info["data"].items() if k != "device_path"}
    driver._attach_encryptor(context, {**connection_info, "data": data}, None)


def volume_api_of(driver: libvirt_driver.LibvirtDriver) -> Any:
    """Return the driver's nova.volume.cinder.API."""
    return driver._volume_api
