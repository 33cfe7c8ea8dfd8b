# SPDX-License-Identifier: Apache-2.0
"""A server's volumes on this host, through Nova's volume drivers and os-brick.

Several are connected at once. That is safe, for each goes through Nova's own
_connect_volume, and what must not be done at once is behind locks there:

- os-brick's connectors for iSCSI, iSER, FC and NVMe-oF hold one lock, external (between
  processes), around connect_volume and disconnect_volume; ScaleIO's and LightOS's have
  each one of their own. So volumes of these kinds still come one by one.
  (os_brick/initiator/connectors: `synchronized`.)
- StorPool's has no lock, as each call is one request to its daemon; RBD connects
  nothing; files of a mounted file system are mounted under a lock for each mount point,
  which counts its users (nova/virt/libvirt/volume/mount.py), Quobyte's and Virtuozzo's
  under their own.
- The lock of a backend whose volumes share a target, which Nova holds around an
  attachment (os_brick/initiator/utils.py: guard_connection), is taken here, too.
- Nova caches its volume drivers under a lock (LibvirtDriver._get_volume_driver), and
  libvirt's connection is made for threads.

The threads are those of the standard library, which where nova-compute still runs on
eventlet (Nova 31, and 32 and 33 where so told) are green ones, as are os-brick's own
threads for multipath.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
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
from oslo_utils import excutils

from stable_rescue import exception, nova_internals
from stable_rescue.domain import document, sources
from stable_rescue.domain.document import Domain
from stable_rescue.domain.mapping import BlockDevices
from stable_rescue.storage import attachment
from stable_rescue.storage.volume import (
    Volume,
    check,
    is_there,
    serial_of,
    target_of,
    volumes_of,
)

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)

R = TypeVar("R")


@dataclass(frozen=True)
class Made:
    """What was connected for a rescue, and is disconnected where that fails."""

    name: str
    connection_info: dict[str, Any]
    was_there: bool  # before: then it stays
    had_secret: bool


@dataclass(frozen=True)
class _Done:
    """A volume that was looked after, and the <disk> that Nova would write now."""

    volume: Volume
    connection_info: dict[str, Any]
    disk: str


@dataclass(frozen=True)
class Connected:
    """A server's volumes, connected.

    ``disks`` has by target name the <disk> that Nova would write now, for
    stable_rescue.domain.sources; ``made`` is for :func:`disconnect`.
    """

    disks: dict[str, str]
    made: tuple[Made, ...] = ()


def expected(block_device_info: dict[str, Any]) -> BlockDevices:
    """Return what a definition should have, by Nova's block devices."""
    local = {
        blockinfo.get_eph_disk(index): target_of(device["device_name"])
        for index, device in enumerate(
            virt_driver.block_device_info_get_ephemerals(block_device_info)
        )
    }
    for image in virt_driver.block_device_info_get_image(block_device_info):
        local["disk"] = target_of(image["device_name"])
    swap = virt_driver.block_device_info_get_swap(block_device_info)
    if virt_driver.swap_is_usable(swap):
        local["disk.swap"] = target_of(swap["device_name"])
    return BlockDevices(
        {
            serial_of(device): target_of(device["mount_device"])
            for device in virt_driver.block_device_info_get_mapping(block_device_info)
        },
        local,
    )


def verify(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    block_device_info: dict[str, Any],
    domain: Domain,
) -> Connected:
    """Check the volumes of a running guest: there, readable, of their size.

    Nothing is connected anew: the guest has them open. The secret of one that is
    encrypted is made where libvirt has lost it, as the rescue needs it to start.

    :raises Refused: naming the first volume with which something is wrong
    """

    def verify_one(volume: Volume) -> _Done:
        info = volume.connection_info()
        path = sources.path_of(volume.disk)
        if path is not None:
            info["data"]["device_path"] = path
        encrypted = volume.disk.find(".//encryption/secret") is not None
        if encrypted and not nova_internals.has_volume_secret(driver, volume.serial):
            nova_internals.make_volume_secret(driver, context, info)
        check(driver, volume, info, path)
        disk = nova_internals.volume_disk_xml(driver, info, volume.mapping())
        return _Done(volume, info, disk)

    volumes = volumes_of(block_device_info, domain)
    done, failed = _each(context, instance, volumes, verify_one, "cannot be used")
    if failed is not None:
        raise failed
    return Connected(_save(context, instance, done))


def connect(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    block_device_info: dict[str, Any],
    domain: Domain,
) -> Connected:
    """Connect the volumes of a guest that does not run, several at once.

    :param domain: the server's original or rescue definition
    :raises Refused: naming the first volume that cannot be connected; those that this
        call has connected are disconnected again, in reverse order
    """
    made: dict[str, Made] = {}

    def connect_one(volume: Volume) -> _Done:
        info = volume.connection_info()
        was_there = is_there(driver, volume, info)
        had_secret = nova_internals.has_volume_secret(driver, volume.serial)
        info = _connect(driver, context, instance, volume, info, connector)
        made[volume.serial] = Made(volume.name, info, was_there, had_secret)
        disk = nova_internals.volume_disk_xml(driver, info, volume.mapping())
        check(driver, volume, info, sources.path_of(document.parse_element(disk)))
        return _Done(volume, info, disk)

    volumes = volumes_of(block_device_info, domain)
    connector = _connector(driver, instance) if volumes else {}
    done, failed = _each(context, instance, volumes, connect_one, "cannot be connected")
    in_order = tuple(made[v.serial] for v in volumes if v.serial in made)
    try:
        if failed is not None:
            raise failed
        return Connected(_save(context, instance, done), in_order)
    except Exception:  # noqa: BLE001 - it is raised again
        with excutils.save_and_reraise_exception(logger=LOG):
            disconnect(driver, context, instance, in_order)


def connect_again(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    domain: Domain,
) -> dict[str, str]:
    """Connect the volumes of a guest that is about to start, by Nova's database.

    The host may have been started again: its devices may have other names now.

    :returns: by target name, the <disk> that Nova would write now
    :raises Refused: naming the first volume that cannot be connected
    """
    info = nova_internals.block_device_info(context, instance)
    return connect(driver, context, instance, info, domain).disks


def disconnect(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    made: Iterable[Made],
) -> None:
    """Disconnect what a rescue has connected, last first; errors are logged only.

    What was there before stays: a stopped server's volumes often are.
    """
    for volume in reversed(tuple(made)):
        if volume.was_there:
            continue
        try:
            nova_internals.disconnect_volume(
                driver, context, instance, volume.connection_info, volume.had_secret
            )
        except Exception:
            LOG.exception(
                "%s stays connected to this host", volume.name, instance=instance
            )


def _save(
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    done: list[_Done],
) -> dict[str, str]:
    """Have the database know what was found; return the <disk> elements."""
    for found in done:
        attachment.save(context, instance, found.volume, found.connection_info)
    return {found.volume.target: found.disk for found in done}


def _each(
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    volumes: list[Volume],
    action: Callable[[Volume], R],
    failing: str,
) -> tuple[list[R], exception.Refused | None]:
    """Do something with the volumes, some at a time; after an error, begin no more.

    :returns: what was done, and the first error
    """
    errors: list[exception.Refused] = []

    def run(volume: Volume) -> list[R]:
        if errors:
            return []
        try:
            return [action(volume)]
        except exception.Refused as exc:
            errors.append(exc)
        except Exception as exc:
            LOG.exception("%s %s", volume.name, failing, instance=instance)
            refused = exception.Refused(f"{volume.name} {failing}")
            refused.__cause__ = exc
            errors.append(refused)
        return []

    if not volumes:
        return [], None
    workers = min(CONF.stable_rescue.volume_connect_workers, len(volumes))
    # The store is what tells the log of the request, thread by thread.
    with ThreadPoolExecutor(workers, initializer=context.update_store) as pool:
        done = [result for found in pool.map(run, volumes) for result in found]
    return done, errors[0] if errors else None


def _connector(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance"
) -> dict[str, Any]:
    """Return what Cinder has to know of this host; nothing where that cannot be told.

    To connect a volume as it was attached, Nova does not ask for it.
    """
    try:
        return dict(driver.get_volume_connector(instance))
    except Exception:
        LOG.exception("What this host's connector is cannot be told", instance=instance)
        return {}


def _connect(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    volume: Volume,
    info: dict[str, Any],
    connector: dict[str, Any],
) -> dict[str, Any]:
    """Connect a volume; return its connection_info with the device that it became."""
    with nova_internals.guarding_volume(driver, context, volume.device.volume_id):
        changed = attachment.changes(info, connector)
        if not changed:
            try:
                nova_internals.connect_volume(driver, context, instance, info)
                return info
            except (
                brick_exception.BrickException,
                processutils.ProcessExecutionError,
            ):
                # Cinder does not tell for which initiator, address or setting of this
                # host it has exported a volume. If one has changed, this is how.
                if not connector or not volume.device["attachment_id"]:
                    raise
                LOG.warning(
                    "%s: exported for this host as it was? Trying anew",
                    volume.name,
                    exc_info=True,
                    instance=instance,
                )
        else:
            LOG.info(
                "%s: this host has another %s than when it was attached",
                volume.name,
                ", ".join(changed),
                instance=instance,
            )
        info = attachment.update(driver, context, instance, volume, connector)
        nova_internals.connect_volume(driver, context, instance, info)
        return info
