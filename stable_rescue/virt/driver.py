# SPDX-License-Identifier: Apache-2.0
"""StableRescueDriver: Nova's libvirt driver with a rescue that moves no device."""

from typing import Any

from nova import conf as nova_conf
from nova import context as nova_context
from nova import objects
from nova.network import model as network_model
from nova.virt import hardware
from nova.virt.libvirt import driver as libvirt_driver
from oslo_log import log as logging
from oslo_utils import excutils, timeutils

from stable_rescue import conf, nova_internals
from stable_rescue.storage import medium, record
from stable_rescue.storage.record import Record
from stable_rescue.virt import preparation
from stable_rescue.virt.refusal import refusing

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)

conf.register_opts(CONF)


class StableRescueDriver(libvirt_driver.LibvirtDriver):
    """Rescues by deriving from the server's own definition; all else is Nova's."""

    def __init__(self, virtapi: Any, read_only: bool = False) -> None:
        super().__init__(virtapi, read_only)
        # Prepared by this process and not yet begun, by instance; the record on
        # disk is for another process, after a crash.
        self._prepared: dict[str, Record] = {}

    def prepare_rescue(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        image_id: str,
    ) -> Record | None:
        """Decide a rescue and make it ready, without touching the guest.

        :returns: its record, or None where the image asks for Nova's own rescue
        :raises nova.exception.InstanceNotRescuable: where it cannot be done
        """
        watch = timeutils.StopWatch()
        with watch, refusing(instance):
            image = nova_internals.image_api_of(self).get(context, image_id)
            request = preparation.request_of(image)
            if request is None:
                return None
            LOG.info(
                "Preparing a stable rescue from image %s", image_id, instance=instance
            )
            prepared = preparation.prepare(self, context, instance, image, request)
        LOG.info(
            "Prepared a stable rescue by %s on %s in %.2f seconds",
            prepared.device,
            prepared.bus,
            watch.elapsed(),
            instance=instance,
        )
        self._prepared[instance.uuid] = prepared
        return prepared

    def discard_rescue(self, instance: "objects.Instance") -> None:
        """Remove what was prepared for a rescue that has not begun, if anything."""
        if self._prepared.pop(instance.uuid, None) is not None:
            LOG.info("Discarding a rescue that has not begun", instance=instance)
            medium.remove(self, instance)
            preparation.store_of(instance).clear()

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
        :raises Exception: what stood in the way of the start; the server's own
            definition is then in place again
        """
        prepared = self._take_prepared(context, instance, image_meta)
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
        with timeutils.StopWatch() as watch:
            self._commit(context, instance, network_info, block_device_info, prepared)
        LOG.info("Rescued in %.2f seconds", watch.elapsed(), instance=instance)

    def unrescue(
        self, context: nova_context.RequestContext, instance: "objects.Instance"
    ) -> None:
        """Bring the server's own definition back and start it.

        :raises Exception: what stood in the way; the record is then still there
        """
        store = preparation.store_of(instance)
        rescued = store.load()
        if rescued is None or rescued.state != record.RESCUED:
            super().unrescue(context, instance)
            return
        LOG.info("Ending a stable rescue", instance=instance)
        with timeutils.StopWatch() as watch:
            self.power_off(instance)
            self.plug_vifs(instance, instance.get_network_info())
            original = store.original() or rescued.before
            nova_internals.start_guest(self, context, original, instance)
            medium.remove(self, instance)
            store.clear()
        LOG.info("Unrescued in %.2f seconds", watch.elapsed(), instance=instance)

    def _take_prepared(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        image_meta: "objects.ImageMeta",
    ) -> Record | None:
        """Return what the manager has prepared; without our manager, prepare now."""
        stable = hardware.check_hw_rescue_props(image_meta)
        if not stable and CONF.stable_rescue.default_mode == "legacy":
            return None
        prepared = self._prepared.pop(instance.uuid, None)
        if prepared is None:
            prepared = self.prepare_rescue(context, instance, image_meta.id)
            self._prepared.pop(instance.uuid, None)
        return prepared

    def _commit(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        network_info: network_model.NetworkInfo,
        block_device_info: dict[str, Any] | None,
        prepared: Record,
    ) -> None:
        store = preparation.store_of(instance)
        store.save_original(prepared.before)
        try:
            self.power_off(instance)
            nova_internals.connect_volumes(self, context, instance, block_device_info)
            self.plug_vifs(instance, network_info)
            store.save(prepared.rescued())
            nova_internals.start_guest(self, context, prepared.after, instance)
        except Exception:  # noqa: BLE001 - it is raised again
            with excutils.save_and_reraise_exception(logger=LOG):
                LOG.error("The rescue failed; undoing it", instance=instance)
                nova_internals.define_guest(self, prepared.before)
                medium.remove(self, instance)
                store.clear()
