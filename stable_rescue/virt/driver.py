# SPDX-License-Identifier: Apache-2.0
"""StableRescueDriver: Nova's libvirt driver with a rescue that moves no device."""

import datetime
from collections.abc import Callable, Collection
from typing import Any

from nova import conf as nova_conf
from nova import context as nova_context
from nova import objects
from nova.compute import vm_states
from nova.network import model as network_model
from nova.virt import hardware
from nova.virt.libvirt import driver as libvirt_driver
from oslo_log import log as logging
from oslo_utils import excutils, timeutils

from stable_rescue import conf, nova_internals
from stable_rescue.storage import image_cache, inspection, records
from stable_rescue.storage.record import Rest, State
from stable_rescue.virt import origin, preparation, transitions
from stable_rescue.virt.phase import phase
from stable_rescue.virt.preparation import Prepared
from stable_rescue.virt.refusal import failing, refusing

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)

conf.register_opts(CONF)

# Where a server may be whose vm_state is RESCUED.
_RESCUED = (State.RESCUED, State.ENDING, State.ENDED)
_TOLD = {
    Rest.UNTOUCHED: "as it was",
    Rest.ITSELF: "itself again",
    Rest.RESCUED: "rescued",
}


def _time(text: str) -> datetime.datetime | None:
    return datetime.datetime.fromisoformat(text) if text else None


class StableRescueDriver(libvirt_driver.LibvirtDriver):
    """Rescues by deriving from the server's own definition; all else is Nova's."""

    def __init__(self, virtapi: Any, read_only: bool = False) -> None:
        super().__init__(virtapi, read_only)
        nova_internals.outlive_libvirts_connection(self)
        # Prepared by this process and not yet begun, by instance; the record on
        # disk is for another process, after a crash.
        self._prepared: dict[str, Prepared] = {}
        # Whether a manager of ours tells Nova how a rescue has ended, and then has
        # its record removed (forget_rescue).
        self.managed = False

    def prepare_rescue(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        image_id: str,
        admin_password: str,
        block_devices: Callable[[], dict[str, Any]],
    ) -> bool:
        """Decide a rescue and make it ready, without touching the guest.

        :param admin_password: what the API has told the user; goes to the config drive
        :param block_devices: returns the server's block devices; called if it is ours
        :returns: whether it is ours; the image may ask for Nova's own rescue
        :raises nova.exception.InstanceNotRescuable: where it cannot be done
        """
        watch = timeutils.StopWatch()
        with watch, refusing(instance):
            image = nova_internals.image_api_of(self).get(context, image_id)
            request = preparation.request_of(image)
            if request is None:
                inspection.check_legacy(context, instance)
                return False
            transitions.make_way(self, context, instance)
            LOG.info(
                "Preparing a stable rescue from image %s", image_id, instance=instance
            )
            prepared = preparation.prepare(
                self,
                context,
                instance,
                image,
                request,
                admin_password,
                block_devices,
                self.managed,
            )
        LOG.info(
            "Prepared a stable rescue by %s on %s in %.2f seconds",
            prepared.record.device,
            prepared.record.bus,
            watch.elapsed(),
            instance=instance,
        )
        self._prepared[instance.uuid] = prepared
        return True

    def rescue(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        network_info: network_model.NetworkInfo,
        image_meta: "objects.ImageMeta",
        rescue_password: str,
        block_device_info: dict[str, Any] | None,
        share_info: "objects.ShareMappingList",
    ) -> None:
        """Boot the server from its rescue disk, every device where it was.

        :raises nova.exception.InstanceNotRescuable: where it cannot be prepared
        :raises Exception: what stood in the way of the start; the server is then
            itself again
        """
        prepared = self._take_prepared(
            context, instance, image_meta, rescue_password, block_device_info or {}
        )
        if prepared is None:
            super().rescue(
                context,
                instance,
                network_info,
                image_meta,
                rescue_password,
                block_device_info,
                share_info,
            )
            return
        with (
            timeutils.StopWatch() as watch,
            phase(context, instance, "rescue_boot"),
            failing(instance, "the rescue system could not be started"),
        ):
            try:
                transitions.begin(self, context, instance, prepared.record)
            finally:
                self._forget_unless_managed(instance)
        LOG.info("Rescued in %.2f seconds", watch.elapsed(), instance=instance)

    def discard_rescue(self, instance: "objects.Instance", deleted: bool) -> None:
        """Remove a rescue that was prepared and is not wanted any more.

        :param deleted: whether the instance is gone, or about to be
        """
        prepared = self._prepared.pop(instance.uuid, None)
        if prepared is not None:
            LOG.info("Removing what was prepared for a rescue", instance=instance)
            prepared.discard()
        if deleted:
            records.forget_directory(instance)

    def unrescue(
        self, context: nova_context.RequestContext, instance: "objects.Instance"
    ) -> None:
        """Bring the server's own definition back, in the power state that it had.

        :raises Exception: what stood in the way; the record is then still there
        """
        rescued = records.load(instance)
        if rescued is None or rescued.state not in _RESCUED:
            self._unrescue_novas(context, instance)
            return
        LOG.info("Ending a stable rescue", instance=instance)
        with timeutils.StopWatch() as watch:
            transitions.end(self, context, instance, rescued)
            self._forget_unless_managed(instance)
        LOG.info("Unrescued in %.2f seconds", watch.elapsed(), instance=instance)

    def forget_rescue(self, instance: "objects.Instance") -> None:
        """Remove the record of a rescue that has ended, once Nova knows.

        :raises OSError: where it cannot be removed
        """
        found = records.load(instance)
        if found is not None and found.state is State.ENDED:
            records.store_of(instance).forget()

    def _forget_unless_managed(self, instance: "objects.Instance") -> None:
        if not self.managed:
            self.forget_rescue(instance)

    def settle_rescue(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        finish: bool = False,
    ) -> Rest | None:
        """Bring a server to rest whose rescue, or the end of it, was cut short.

        :param finish: end a rescue whose end had begun, in place of going back to it
        :returns: where it is; None where there is no rescue of ours
        :raises Exception: what stood in the way; the record is then still there
        """
        self._prepared.pop(instance.uuid, None)
        with timeutils.StopWatch() as watch:
            rest = transitions.settle(self, context, instance, finish)
            if rest is None:
                rest = self._settle_novas(context, instance, finish)
        if rest is not None:
            LOG.info(
                "Settled a rescue that was cut short: the server is %s, "
                "after %.2f seconds",
                _TOLD[rest],
                watch.elapsed(),
                instance=instance,
            )
        return rest

    def _settle_novas(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        finish: bool,
    ) -> Rest | None:
        """Settle a rescue of Nova's own, or one whose record is lost."""
        rescued = instance.vm_state == vm_states.RESCUED
        if self.is_rescue_lost(instance) and (
            finish or not transitions.is_rescue(self, instance)
        ):
            self._unrescue_novas(context, instance)
            return Rest.ITSELF
        if rescued and not finish:
            # The host may have been started again (UPSTREAM U14, U15).
            started = transitions.start_as_defined(self, context, instance)
            return Rest.RESCUED if started else None
        if records.store_of(instance).original():
            self._unrescue_novas(context, instance)
            return Rest.ITSELF
        return None

    def _unrescue_novas(
        self, context: nova_context.RequestContext, instance: "objects.Instance"
    ) -> None:
        """End a rescue of Nova's own, or one whose record is lost (UPSTREAM U19)."""
        store = records.store_of(instance)
        if origin.saved_by(store) is not None:
            super().unrescue(context, instance)
        else:
            LOG.warning("No definition of it is left; building one", instance=instance)
            transitions.rebuild(self, context, instance)
        store.clear()

    def resume_state_on_host_boot(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        network_info: network_model.NetworkInfo,
        share_info: "objects.ShareMappingList",
        block_device_info: dict[str, Any] | None = None,
    ) -> None:
        """Start an instance after its host; a rescued one into its rescue (U14).

        :raises Exception: what stood in the way
        """
        if instance.vm_state == vm_states.RESCUED:
            self.settle_rescue(context, instance)
        else:
            super().resume_state_on_host_boot(
                context, instance, network_info, share_info, block_device_info
            )

    def ran_before_rescue(self, instance: "objects.Instance") -> bool | None:
        """Say whether the guest ran before its rescue; None: no rescue of ours."""
        found = records.load(instance)
        return None if found is None else found.was_running

    def is_rescue_lost(self, instance: "objects.Instance") -> bool:
        """Say whether of what a rescued server was no file tells any more (U19)."""
        if instance.vm_state != vm_states.RESCUED:
            return False
        saved = origin.saved_by(records.store_of(instance))
        return saved is None and records.load(instance) is None

    def has_rescue_record(self, instance: "objects.Instance") -> bool:
        """Say whether there is something left of a rescue of ours, be it damaged."""
        return records.store_of(instance).exists()

    def instances_with_rescue_record(self) -> list[str]:
        """Return the ids of the instances of which something is left of a rescue."""
        return records.instances()

    def launched_before_rescue(
        self, instance: "objects.Instance"
    ) -> datetime.datetime | None:
        """Return launched_at as it was before a rescue of ours, or None."""
        found = records.load(instance)
        return _time(found.launched_at) if found else None

    def rescued_at(self, instance: "objects.Instance") -> datetime.datetime | None:
        """Return when a rescue of ours was started, in UTC, or None."""
        found = records.load(instance)
        return _time(found.rescued_at) if found else None

    def sweep_rescue(
        self, context: nova_context.RequestContext, instance: "objects.Instance"
    ) -> None:
        """Remove what is left of a rescue that is over; the guest is not touched.

        :raises Exception: what stood in the way
        """
        LOG.info("Removing what is left of a rescue that is over", instance=instance)
        transitions.sweep(self, instance)

    def destroy(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        network_info: network_model.NetworkInfo,
        block_device_info: dict[str, Any] | None = None,
        destroy_disks: bool = True,
        destroy_secrets: bool = True,
    ) -> None:
        """Destroy an instance; a rescued one with all that was its own.

        Undefined as it was before its rescue, libvirt removes its UEFI variables.
        """
        rescued = records.load(instance)
        if rescued is not None:
            try:
                transitions.before_destroy(self, instance, rescued)
            except Exception:
                LOG.exception("It is destroyed as rescued", instance=instance)
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
        """Age the image cache; what a rescue was made from is in use (UPSTREAM U23)."""
        super().manage_image_cache(context, image_cache.with_rescues(all_instances))

    def _take_prepared(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        image_meta: "objects.ImageMeta",
        admin_password: str,
        block_device_info: dict[str, Any],
    ) -> Prepared | None:
        """Return what the manager has prepared; without our manager, prepare now."""
        stable = hardware.check_hw_rescue_props(image_meta)
        if not stable and CONF.stable_rescue.default_mode == "legacy":
            return None
        if instance.uuid not in self._prepared:
            try:
                self.prepare_rescue(
                    context,
                    instance,
                    image_meta.id,
                    admin_password,
                    lambda: block_device_info,
                )
            except Exception:  # noqa: BLE001 - it is raised again
                with excutils.save_and_reraise_exception(logger=LOG):
                    # Nova's manager has powered it off.
                    if instance.vm_state == vm_states.ACTIVE:
                        transitions.start_as_defined(self, context, instance)
        return self._prepared.pop(instance.uuid, None)
