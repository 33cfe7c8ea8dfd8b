# SPDX-License-Identifier: Apache-2.0
"""What else Nova does with a server that may be rescued, besides the rescue itself."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from nova import context as nova_context
from nova import objects
from nova.compute import vm_states
from nova.network import model as network_model
from oslo_log import log as logging

from stable_rescue import nova_internals
from stable_rescue.domain import nvram, recognize
from stable_rescue.domain.document import Domain
from stable_rescue.storage import image_cache, medium
from stable_rescue.storage.store import store_of
from stable_rescue.virt import guest, memory, outdated

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
        self._boots.end(instance)
        _before_destroy(self, instance)
        super().destroy(
            context,
            instance,
            network_info,
            block_device_info=block_device_info,
            destroy_disks=destroy_disks,
            destroy_secrets=destroy_secrets,
        )

    # Nova also calls it to start a stopped server and to start one at host boot.
    def _hard_reboot(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        network_info: network_model.NetworkInfo,
        share_info: "objects.ShareMappingList",
        block_device_info: dict[str, Any] | None = None,
        accel_info: list[dict[str, Any]] | None = None,
    ) -> None:
        """Build the definition anew, from the original one instead of a rescue's (U31).

        Errors of Nova's driver propagate.
        """
        try:
            _before_hard_reboot(self, instance)
        except Exception:
            # Operators repair a guest by a hard reboot, whatever is wrong with it.
            LOG.exception(
                "Could not restore the original definition before a hard reboot; "
                "continuing with the reboot",
                instance=instance,
            )
        super()._hard_reboot(
            context,
            instance,
            network_info,
            share_info,
            block_device_info=block_device_info,
            accel_info=accel_info,
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
            memory.undo(driver, instance, record)
    except Exception:
        LOG.exception(
            "Could not restore the original definition before destroy; "
            "destroying the rescue domain",
            instance=instance,
        )


def _before_hard_reboot(driver: LifecycleMixin, instance: "objects.Instance") -> None:
    """Replace a rescue definition by the original one, before Nova builds a new one.

    Since Nova 33, the new definition has the UEFI variables of the old one, which are a
    copy that is removed with the rescue. Errors of libvirt propagate.
    """
    current = guest.current(driver, instance)
    if current is None or not recognize.is_rescue(current):
        return
    store = store_of(instance)
    record = store.load()
    is_stable = recognize.rescue_disk(current) is not None
    if record is not None and (is_stable or store.has_rescue_as_original()):
        original: Domain | None = Domain.parse(record.original_xml)
    else:
        original = store.load_original()
    if original is None:
        LOG.warning(
            "Neither the rescue record nor unrescue.xml holds the original "
            "definition; libvirt chooses the file of the UEFI variables again",
            instance=instance,
        )
        defined = guest.defined(nova_internals.guest_of(driver, instance))
        original = nvram.without_copy(defined)
    LOG.info("Replacing a rescue definition before a hard reboot", instance=instance)
    guest.replace_definition(driver, instance, original.to_xml())
    if record is None:
        # Nova's driver has rescued the server, and nobody ends that rescue any more.
        medium.remove(driver, instance)
        store.remove_original()
