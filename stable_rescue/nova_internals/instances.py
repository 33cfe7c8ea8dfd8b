# SPDX-License-Identifier: Apache-2.0
"""What Nova's database, Cinder and the compute manager know of an instance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nova.objects import block_device as block_device_mapping
from nova.objects import share_mapping
from nova.virt import driver as virt_driver

if TYPE_CHECKING:
    from nova import context as nova_context
    from nova import objects
    from nova.compute import manager


def fresh_block_device_info(
    compute: manager.ComputeManager,
    context: nova_context.RequestContext,
    instance: objects.Instance,
) -> dict[str, Any]:
    """Return an instance's block devices with the connections that Cinder has now.

    :raises Exception: where Cinder does not tell
    """
    copies = [
        mapping.obj_clone()
        for mapping in block_device_mapping.BlockDeviceMappingList.get_by_instance_uuid(
            context, instance.uuid
        )
    ]
    for mapping in copies:
        # Nova's refresh saves what Cinder tells, which lacks the device that the
        # volume is connected as: StorPool's could not be disconnected any more.
        mapping.save = lambda: None
    return dict(
        compute._get_instance_block_device_info(
            context, instance, refresh_conn_info=True, bdms=copies
        )
    )


def block_device_info(
    context: nova_context.RequestContext, instance: objects.Instance
) -> dict[str, Any]:
    """Return the instance's block devices as drivers take them."""
    mappings = block_device_mapping.BlockDeviceMappingList.get_by_instance_uuid(
        context, instance.uuid
    )
    return dict(virt_driver.get_block_device_info(instance, mappings))


def shares_of(
    context: nova_context.RequestContext, instance: objects.Instance
) -> objects.ShareMappingList:
    """Return the instance's Manila shares, as drivers take them."""
    return share_mapping.ShareMappingList.get_by_instance_uuid(context, instance.uuid)


def mount_shares(
    compute: manager.ComputeManager,
    context: nova_context.RequestContext,
    instance: objects.Instance,
) -> None:
    """Mount the instance's Manila shares on the host; one that is mounted stays.

    :raises Exception: what Nova's drivers of shares raise
    """
    shares = getattr(compute, "share_manager", None)
    if shares is not None:  # Nova 34
        found = shares.get_share_info(context, instance, check_status=False)
        mount = shares.mount_all
    else:
        found = compute._get_share_info(context, instance, check_status=False)
        mount = compute._mount_all_shares
    if len(found):
        mount(context, instance, found)


def rescue_image_ref(
    compute: manager.ComputeManager,
    context: nova_context.RequestContext,
    instance: objects.Instance,
    image_ref: str | None,
) -> str:
    """Return the id of the image that Nova rescues with.

    :raises ValueError: where Nova refuses one of the image's properties
    :raises nova.exception.NovaException: where Glance does not give the image
    """
    return str(compute._get_rescue_image(context, instance, image_ref).id)


def power_state(compute: manager.ComputeManager, instance: objects.Instance) -> int:
    """Return the guest's power state, as libvirt has it now."""
    return int(compute._get_power_state(instance))


def replace_periodic_tasks(manager_class: type) -> None:
    """Have a class run its own periodic tasks in place of its base's of the same name.

    oslo.service runs both.
    """
    tasks = dict(manager_class._periodic_tasks)
    manager_class._periodic_tasks = list(tasks.items())
