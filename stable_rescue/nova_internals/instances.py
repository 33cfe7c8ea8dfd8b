# SPDX-License-Identifier: Apache-2.0
"""What Nova's database, Cinder and the compute manager know about an instance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nova.objects import block_device as block_device_mapping
from nova.objects import share_mapping
from nova.virt import driver as virt_driver

if TYPE_CHECKING:
    from nova import context as nova_context
    from nova import objects
    from nova.compute import manager
    from nova.network import model as network_model
    from nova.virt.libvirt import driver as libvirt_driver


def block_device_info(
    context: nova_context.RequestContext, instance: objects.Instance
) -> dict[str, Any]:
    """Return the instance's block_device_info from Nova's database."""
    mappings = _mappings_of(context, instance)
    return dict(virt_driver.get_block_device_info(instance, mappings))


def unsaved_block_device_info(
    context: nova_context.RequestContext, instance: objects.Instance
) -> dict[str, Any]:
    """Return the instance's block_device_info; changes of it are not saved.

    Nova's refresh of a volume's connection saves what Cinder returns. That lacks the
    device of the connected volume, without which StorPool's connector cannot
    disconnect it.
    """
    mappings = _mappings_of(context, instance)
    for mapping in mappings:
        mapping.save = lambda: None
    return dict(virt_driver.get_block_device_info(instance, mappings))


def _mappings_of(
    context: nova_context.RequestContext, instance: objects.Instance
) -> objects.BlockDeviceMappingList:
    return block_device_mapping.BlockDeviceMappingList.get_by_instance_uuid(
        context, instance.uuid
    )


def shares_of(
    context: nova_context.RequestContext, instance: objects.Instance
) -> objects.ShareMappingList:
    """Return the instance's Manila shares."""
    return share_mapping.ShareMappingList.get_by_instance_uuid(context, instance.uuid)


def ports_in_neutron(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: objects.Instance,
) -> network_model.NetworkInfo:
    """Return the instance's ports according to Neutron, and cache them.

    Without force_refresh, Nova only looks for the ports that it has in its cache.
    Errors of Neutron's client propagate.
    """
    return driver._network_api.get_instance_nw_info(
        context, instance, force_refresh=True
    )


def mount_shares(
    compute: manager.ComputeManager,
    context: nova_context.RequestContext,
    instance: objects.Instance,
) -> None:
    """Mount the instance's Manila shares on the host, unless they are mounted.

    Errors of Nova's share drivers propagate.
    """
    share_manager = getattr(compute, "share_manager", None)
    if share_manager is not None:  # Nova 34
        shares = share_manager.get_share_info(context, instance, check_status=False)
        mount = share_manager.mount_all
    else:
        shares = compute._get_share_info(context, instance, check_status=False)
        mount = compute._mount_all_shares
    if len(shares):
        mount(context, instance, shares)


def rescue_image_ref(
    compute: manager.ComputeManager,
    context: nova_context.RequestContext,
    instance: objects.Instance,
    image_ref: str | None,
) -> str:
    """Return the id of the image that Nova rescues with.

    :raises ValueError: if Nova rejects one of the image's properties
    :raises nova.exception.NovaException: if Glance does not return the image
    """
    return str(compute._get_rescue_image(context, instance, image_ref).id)


def power_state(compute: manager.ComputeManager, instance: objects.Instance) -> int:
    """Return the guest's current power state from libvirt."""
    return int(compute._get_power_state(instance))


def replace_periodic_tasks(manager_class: Any) -> None:
    """Make a manager run an overridden periodic task once, as the override.

    oslo.service would run both the task of the base class and the override.
    """
    tasks = dict(manager_class._periodic_tasks)
    manager_class._periodic_tasks = list(tasks.items())
