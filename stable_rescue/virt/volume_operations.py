# SPDX-License-Identifier: Apache-2.0
"""What Nova does with the volumes of a server whose rescue discards its writes (E8).

The API allows snapshots of volumes that are files while a server is rescued. All else
comes from requests that were made before the rescue and arrive late.
"""

from typing import TYPE_CHECKING, Any

from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from oslo_log import log as logging

from stable_rescue.domain import recognize
from stable_rescue.domain.document import target_of
from stable_rescue.domain.sources import serial_of
from stable_rescue.storage import overlays as stored
from stable_rescue.virt import guest

if TYPE_CHECKING:
    from nova.virt.libvirt import driver as libvirt_driver
    from nova.virt.libvirt import guest as libvirt_guest

    class DriverBase(libvirt_driver.LibvirtDriver):
        """What the mixin completes, for the type checker."""
else:
    DriverBase = object

LOG = logging.getLogger(__name__)

_REASON = (
    "the server is in a rescue that discards its writes, and the volume is below an "
    "overlay; unrescue the server first"
)


class VolumeOperationsMixin(DriverBase):
    """Keeps volumes from being changed through, or merged with, their overlays."""

    def attach_volume(
        self,
        context: nova_context.RequestContext,
        connection_info: dict[str, Any],
        instance: "objects.Instance",
        mountpoint: str,
        disk_bus: str | None = None,
        device_type: str | None = None,
        encryption: dict[str, Any] | None = None,
    ) -> None:
        """Attach a volume; errors of Nova's driver propagate.

        :raises nova.exception.InvalidVolume: if the rescue discards writes, because the
            volume would have no overlay
        """
        if _overlaid(self, instance):
            raise nova_exception.InvalidVolume(
                reason="the server is in a rescue that discards its writes, and what "
                "the rescue system writes to this volume would stay"
            )
        super().attach_volume(
            context,
            connection_info,
            instance,
            mountpoint,
            disk_bus=disk_bus,
            device_type=device_type,
            encryption=encryption,
        )

    def detach_volume(
        self,
        context: nova_context.RequestContext,
        connection_info: dict[str, Any],
        instance: "objects.Instance",
        mountpoint: str,
        encryption: dict[str, Any] | None = None,
    ) -> None:
        """Detach a volume and remove its overlay; errors of Nova's driver propagate."""
        super().detach_volume(
            context, connection_info, instance, mountpoint, encryption=encryption
        )
        _remove_overlay(self, instance, mountpoint.rpartition("/")[2])

    def swap_volume(
        self,
        context: nova_context.RequestContext,
        old_connection_info: dict[str, Any],
        new_connection_info: dict[str, Any],
        instance: "objects.Instance",
        mountpoint: str,
        resize_to: int,
    ) -> None:
        """Swap a volume for another; errors of Nova's driver propagate.

        :raises nova.exception.InvalidVolume: if the volume has an overlay, because the
            new volume would get its content
        """
        target = mountpoint and mountpoint.rpartition("/")[2]
        if target and target in _overlaid(self, instance):
            raise nova_exception.InvalidVolume(reason=_REASON)
        super().swap_volume(
            context,
            old_connection_info,
            new_connection_info,
            instance,
            mountpoint,
            resize_to,
        )

    # If it fails, Nova sets the status of the snapshot in Cinder to error.
    def _volume_snapshot_create(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        guest: "libvirt_guest.Guest",
        volume_id: str,
        new_file: str,
    ) -> None:
        """Snapshot a volume that is a file; errors of Nova's driver propagate.

        :raises nova.exception.InvalidVolume: if the volume has an overlay, because the
            snapshot would be one of the overlay
        """
        _check_snapshot(self, instance, volume_id)
        super()._volume_snapshot_create(context, instance, guest, volume_id, new_file)

    def _volume_snapshot_delete(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        volume_id: str,
        snapshot_id: str,
        delete_info: dict[str, Any] | None = None,
    ) -> None:
        """Delete a snapshot of a volume that is a file; errors of Nova propagate.

        :raises nova.exception.InvalidVolume: if the volume has an overlay, because the
            overlay would be merged with the volume
        """
        _check_snapshot(self, instance, volume_id)
        super()._volume_snapshot_delete(
            context, instance, volume_id, snapshot_id, delete_info=delete_info
        )


def _overlaid(
    driver: "libvirt_driver.LibvirtDriver", instance: "objects.Instance"
) -> dict[str, str]:
    """Return the serial of each disk that the guest has with an overlay, by target."""
    # Without a file, libvirt need not be asked. While a rescue is being prepared, there
    # are files that the guest does not use yet.
    current = guest.current(driver, instance) if stored.exist(instance) else None
    return {
        target_of(disk)[0]: serial_of(disk)
        for disk in (current.disks() if current else ())
        if recognize.overlay_path(disk) is not None
    }


def _check_snapshot(
    driver: "libvirt_driver.LibvirtDriver",
    instance: "objects.Instance",
    volume_id: str,
) -> None:
    """Check that a volume has no overlay.

    :raises nova.exception.InvalidVolume: if it has
    """
    if volume_id in _overlaid(driver, instance).values():
        raise nova_exception.InvalidVolume(reason=_REASON)


def _remove_overlay(
    driver: "libvirt_driver.LibvirtDriver",
    instance: "objects.Instance",
    target: str,
) -> None:
    """Remove the overlay of a disk that was detached; an error is only logged."""
    try:
        if stored.exist(instance) and target not in _overlaid(driver, instance):
            stored.remove_one(instance, target)
    except Exception:
        LOG.exception(
            "Could not remove the overlay of %s, which was detached; it is removed "
            "with the rescue",
            target,
            instance=instance,
        )
