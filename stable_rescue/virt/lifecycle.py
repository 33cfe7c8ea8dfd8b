# SPDX-License-Identifier: Apache-2.0
"""What else Nova does with a server that may be rescued, besides the rescue itself."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from nova import context as nova_context
from nova import objects
from nova.compute import vm_states
from nova.network import model as network_model
from oslo_log import log as logging

from stable_rescue.storage import image_cache
from stable_rescue.storage.store import store_of
from stable_rescue.virt import guest, outdated

if TYPE_CHECKING:
    from nova.virt.libvirt import driver as libvirt_driver

    class DriverBase(libvirt_driver.LibvirtDriver):
        """What the mixin completes, for the type checker."""
else:
    DriverBase = object


LOG = logging.getLogger(__name__)


class LifecycleMixin(DriverBase):
    """Keeps a rescue, and the original definition, safe from other operations."""

    def resume_state_on_host_boot(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        network_info: network_model.NetworkInfo,
        share_info: "objects.ShareMappingList",
        block_device_info: dict[str, Any] | None = None,
    ) -> None:
        """Start an instance after a host boot; start its rescue if it is rescued (U14).

        Errors of libvirt propagate.
        """
        if instance.vm_state == vm_states.RESCUED:
            self.recover_rescue(context, instance)
        else:
            super().resume_state_on_host_boot(
                context, instance, network_info, share_info, block_device_info
            )

    def destroy(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        network_info: network_model.NetworkInfo,
        block_device_info: dict[str, Any] | None = None,
        destroy_disks: bool = True,
        destroy_secrets: bool = True,
    ) -> None:
        """Destroy an instance, with the files that its original definition names.

        Libvirt removes the UEFI variables that the definition names, so the original
        definition of a rescued instance is put back first. Errors of Nova's driver
        propagate.
        """
        _before_destroy(self, instance)
        super().destroy(
            context,
            instance,
            network_info,
            block_device_info=block_device_info,
            destroy_disks=destroy_disks,
            destroy_secrets=destroy_secrets,
        )

    def manage_image_cache(
        self,
        context: nova_context.RequestContext,
        all_instances: Collection["objects.Instance"],
    ) -> None:
        """Age the image cache, but keep what rescue disks are backed by (U23)."""
        super().manage_image_cache(context, image_cache.in_use(self, all_instances))


def _before_destroy(driver: LifecycleMixin, instance: "objects.Instance") -> None:
    """Replace the rescue definition by the original one, if there is a record.

    An error is only logged, because the server is destroyed anyway.
    """
    try:
        outdated.remove(driver, instance)
        record = store_of(instance).load()
        if record is not None:
            guest.replace_definition(driver, instance, record.original_xml)
    except Exception:
        LOG.exception(
            "Could not restore the original definition before destroy; "
            "destroying the rescue domain",
            instance=instance,
        )
