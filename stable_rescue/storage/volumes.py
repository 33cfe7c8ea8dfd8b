# SPDX-License-Identifier: Apache-2.0
"""The volumes of a server on this host, through Nova's volume drivers and os-brick.

Several volumes are connected at once. This is safe, because each one goes through
Nova's _connect_volume, and locks protect what must be serial:

- os-brick's connectors for iSCSI, iSER, FC and NVMe-oF hold one lock between processes
  around connect_volume and disconnect_volume; ScaleIO's and LightOS's connectors each
  hold their own. Volumes of these kinds are therefore connected one by one.
  (os_brick/initiator/connectors: `synchronized`.)
- StorPool's connector has no lock: each call is one request to its daemon. RBD connects
  nothing. A file system is mounted under a lock for each mount point, which counts its
  users (nova/virt/libvirt/volume/mount.py); Quobyte and Virtuozzo have their own locks.
- If the volumes of a backend share a target, Nova holds a lock around an attachment
  (os_brick/initiator/utils.py: guard_connection). This module holds it as well.
- Nova caches its volume drivers under a lock (LibvirtDriver._get_volume_driver), and
  libvirt's connection is safe for threads.

If nova-compute runs on eventlet (Nova 31; Nova 32 and 33 if configured so), these
threads are green, like os-brick's own threads for multipath.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from nova import conf as nova_conf
from nova import context as nova_context
from nova import objects
from nova.virt import driver as virt_driver
from nova.virt.libvirt import blockinfo
from nova.virt.libvirt import driver as libvirt_driver
from os_brick import exception as brick_exception
from oslo_concurrency import processutils
from oslo_log import log as logging

from stable_rescue import exception, nova_internals, parallel
from stable_rescue.domain import document, sources
from stable_rescue.domain.document import Domain
from stable_rescue.domain.mapping import BlockDevices
from stable_rescue.storage import attachment
from stable_rescue.storage.volume import (
    Volume,
    check,
    is_connected,
    lacks_secret,
    target_of_device,
    targets_of,
    volumes_of,
)

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)

R = TypeVar("R")


@dataclass(frozen=True)
class Connection:
    """A volume that was connected for a rescue.

    ``was_connected`` says that the volume was connected before the rescue, so that a
    rollback leaves it connected; ``had_secret`` that libvirt had its secret.
    """

    volume: Volume
    connection_info: dict[str, Any]
    was_connected: bool
    had_secret: bool


@dataclass(frozen=True)
class _Checked:
    """A volume that is ready for the rescue, and the <disk> that Nova would write."""

    volume: Volume
    connection_info: dict[str, Any]
    disk_xml: str


def expected(block_device_info: dict[str, Any]) -> BlockDevices:
    """Return the disks that a definition should have according to Nova's mapping."""
    local = {
        blockinfo.get_eph_disk(index): target_of_device(device["device_name"])
        for index, device in enumerate(
            virt_driver.block_device_info_get_ephemerals(block_device_info)
        )
    }
    for image in virt_driver.block_device_info_get_image(block_device_info):
        local["disk"] = target_of_device(image["device_name"])
    swap = virt_driver.block_device_info_get_swap(block_device_info)
    if virt_driver.swap_is_usable(swap):
        local["disk.swap"] = target_of_device(swap["device_name"])
    return BlockDevices(targets_of(block_device_info), local)


def verify(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    block_device_info: dict[str, Any],
    domain: Domain,
    change_nothing: bool = False,
) -> dict[str, str]:
    """Check that the volumes of a running guest exist, are readable and large enough.

    No volume is connected again, because the guest uses them. If libvirt has lost the
    secret of an encrypted volume, it is created: the rescue needs it to start (F23).

    :param domain: the server's original definition
    :param change_nothing: create no secret, and do not update Nova's database
    :returns: by target name, the <disk> that Nova would write for a volume now
    :raises Refused: if a volume fails the check; the reason names the first one
    """

    def verify_one(volume: Volume) -> _Checked:
        info = volume.connection_info()
        path = sources.path_of(volume.disk)
        if path is not None:
            info["data"]["device_path"] = path
        if not change_nothing and lacks_secret(driver, volume):
            nova_internals.make_volume_secret(driver, context, info)
        check(driver, volume, info, path)
        disk_xml = nova_internals.volume_disk_xml(driver, info, volume.mapping())
        return _Checked(volume, info, disk_xml)

    volumes = volumes_of(block_device_info, domain)
    checked = _for_each(context, instance, volumes, verify_one, "cannot be used")
    if not change_nothing:
        _save(context, instance, checked)
    return _disks_of(checked)


def connect(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    block_device_info: dict[str, Any],
    domain: Domain,
    connections: list[Connection],
) -> dict[str, str]:
    """Connect the volumes of a guest that is off, several at once.

    :param domain: the server's original or rescue definition
    :param connections: gets each volume that is connected, for :func:`disconnect`
    :returns: by target name, the <disk> that Nova would write for a volume now
    :raises Refused: if a volume cannot be connected; the reason names the first one
    """

    def connect_one(volume: Volume) -> _Checked:
        info = volume.connection_info()
        was_connected = is_connected(driver, volume, info)
        had_secret = nova_internals.has_volume_secret(driver, volume.serial)
        info = _connect(driver, context, instance, volume, info, connector)
        connections.append(Connection(volume, info, was_connected, had_secret))
        disk_xml = nova_internals.volume_disk_xml(driver, info, volume.mapping())
        check(driver, volume, info, sources.path_of(document.parse_element(disk_xml)))
        return _Checked(volume, info, disk_xml)

    volumes = volumes_of(block_device_info, domain)
    connector = _connector(driver, instance) if volumes else {}
    checked = _for_each(
        context,
        instance,
        volumes,
        connect_one,
        "cannot be connected to the compute host",
    )
    _save(context, instance, checked)
    return _disks_of(checked)


def connect_again(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    domain: Domain,
) -> dict[str, str]:
    """Connect the volumes of a guest that is about to start, from Nova's database.

    If the host was rebooted, its devices may have new names. The caller holds the
    instance's lock.

    :returns: by target name, the <disk> that Nova would write for a volume now
    :raises Refused: if a volume cannot be connected; the reason names the first one.
        The volumes that this call has connected are disconnected in reverse order.
    """
    info = nova_internals.block_device_info(context, instance)
    connections: list[Connection] = []
    try:
        return connect(driver, context, instance, info, domain, connections)
    except Exception:
        disconnect(driver, context, instance, connections)
        raise


def disconnect(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    connections: Iterable[Connection],
) -> None:
    """Disconnect the volumes of a rescue, last first; errors are only logged.

    A volume that was connected before the rescue stays connected. So does a volume that
    is not attached to the instance any more, because its device may be another server's
    by now, and each volume of a guest that runs. The caller holds the instance's lock,
    which Nova holds while it attaches or detaches a volume.
    """
    for connection in reversed(tuple(connections)):
        if connection.was_connected:
            continue
        try:
            _disconnect(driver, context, instance, connection)
        except Exception:
            LOG.exception(
                "Failed to disconnect %s; it stays connected to this host until it is "
                "detached",
                connection.volume.name,
                instance=instance,
            )


def _disconnect(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    connection: Connection,
) -> None:
    volume = connection.volume
    with nova_internals.volume_lock(driver, context, volume.device.volume_id):
        if nova_internals.is_active(driver, instance):
            reason = "the guest runs"
        elif not attachment.exists(driver, context, instance, volume):
            reason = "it is not attached to this instance any more"
        else:
            nova_internals.disconnect_volume(
                driver,
                context,
                instance,
                connection.connection_info,
                connection.had_secret,
            )
            return
    LOG.warning(
        "Leaving %s connected to this host: %s",
        volume.name,
        reason,
        instance=instance,
    )


def _save(
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    checked: list[_Checked],
) -> None:
    """Write the connections that have changed to Nova's database."""
    infos = {item.volume.device.volume_id: item.connection_info for item in checked}
    attachment.save(context, instance, infos)


def _disks_of(checked: list[_Checked]) -> dict[str, str]:
    """Return the <disk> elements by target name."""
    return {item.volume.target: item.disk_xml for item in checked}


def _for_each(
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    volumes: list[Volume],
    action: Callable[[Volume], R],
    failure: str,
) -> list[R]:
    """Run an action for several volumes at once; start none after an error.

    :param failure: follows the volume's name in the refusal if the action fails
    :raises Refused: if the action fails; the reason names the first volume
    """

    def run(volume: Volume) -> R:
        try:
            return action(volume)
        except exception.Refused:
            raise
        except Exception as exc:
            reason = f"{volume.name} {failure}"
            LOG.exception(
                "A volume failed, not trying the others: %s", reason, instance=instance
            )
            raise exception.Refused(f"{reason}; ask the operator") from exc

    workers = CONF.stable_rescue.volume_connect_workers
    return parallel.for_each(context, volumes, run, workers)


def _connector(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance"
) -> dict[str, Any]:
    """Return the volume connector properties of this host, {} if they are unknown.

    The properties are only needed to update an attachment.
    """
    try:
        return dict(driver.get_volume_connector(instance))
    except Exception:
        LOG.exception(
            "Failed to get the volume connector properties of this host; connecting "
            "the volumes as they were attached",
            instance=instance,
        )
        return {}


def _connect(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    volume: Volume,
    info: dict[str, Any],
    connector: dict[str, Any],
) -> dict[str, Any]:
    """Connect a volume; return its connection_info, which names the device."""
    with nova_internals.volume_lock(driver, context, volume.device.volume_id):
        changed = attachment.host_changes(info, connector)
        if changed:
            LOG.info(
                "This host's %s changed since %s was attached; updating the attachment",
                ", ".join(changed),
                volume.name,
                instance=instance,
            )
        else:
            try:
                nova_internals.connect_volume(driver, context, instance, info)
                return info
            except (
                brick_exception.BrickException,
                processutils.ProcessExecutionError,
            ):
                # Cinder does not return the initiator, address or settings that it has
                # exported a volume for. The host's may have changed since.
                if not connector or not volume.device["attachment_id"]:
                    raise
                LOG.warning(
                    "Failed to connect %s; updating the attachment and retrying",
                    volume.name,
                    exc_info=True,
                    instance=instance,
                )
        info = attachment.update(driver, context, instance, volume, connector)
        nova_internals.connect_volume(driver, context, instance, info)
        return info
