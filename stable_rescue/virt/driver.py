# SPDX-License-Identifier: Apache-2.0
"""StableRescueDriver: Nova's libvirt driver with a rescue that moves no device."""

import functools
from collections.abc import Callable
from typing import Any

from nova import conf as nova_conf
from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from nova.compute import provider_tree as nova_provider_tree
from nova.compute import vm_states
from nova.network import model as network_model
from nova.virt.libvirt import driver as libvirt_driver
from oslo_log import log as logging
from oslo_utils import excutils, timeutils

from stable_rescue import conf, metrics, nova_internals
from stable_rescue.outcome import Outcome
from stable_rescue.storage import inspection, store
from stable_rescue.storage.known_rescue import KnownRescue
from stable_rescue.storage.record import State
from stable_rescue.virt import (
    boot_proof,
    evidence,
    outdated,
    ownership,
    planning,
    preparation,
    startup,
    stock_rescue,
    transitions,
)
from stable_rescue.virt.lifecycle import LifecycleMixin
from stable_rescue.virt.preparation import Prepared
from stable_rescue.virt.refusal import failing, refusing
from stable_rescue.virt.volume_operations import VolumeOperationsMixin

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)

conf.register_opts(CONF)

#: The trait of a host that can do a stable rescue. An image or a flavor that requires
#: it places servers on such hosts only.
TRAIT = "CUSTOM_STABLE_RESCUE"

# The record's states in which Nova may call the instance RESCUED.
_RESCUED = (State.RESCUED, State.ENDING, State.ENDED)


class StableRescueDriver(
    LifecycleMixin, VolumeOperationsMixin, libvirt_driver.LibvirtDriver
):
    """Derive a rescue from the original definition; everything else is inherited."""

    def __init__(self, virtapi: Any, read_only: bool = False) -> None:
        super().__init__(virtapi, read_only)
        nova_internals.use_reentrant_connection_lock(self)
        nova_internals.receive_events(self)
        # The rescues that this process has prepared and not begun, by instance UUID.
        # After a crash, recovery relies on the record on disk instead.
        self._prepared: dict[str, Prepared] = {}
        self._boots = boot_proof.BootWatch(self)
        # True if the compute manager has StableRescueMixin, which calls
        # remove_rescue_record when Nova's database has the result of a rescue.
        self.managed = False

    def init_host(self, host: str) -> None:
        """Check the options, start the host, and report its versions.

        Errors of Nova's driver propagate.

        :raises nova.exception.InvalidConfiguration: if an option has a wrong value
        """
        startup.check_options()
        super().init_host(host)
        startup.report(self)

    def update_provider_tree(
        self,
        provider_tree: nova_provider_tree.ProviderTree,
        nodename: str,
        allocations: dict[str, Any] | None = None,
    ) -> None:
        """Report the host's resources, and the trait of a host with stable rescue.

        Errors of Nova's driver propagate.
        """
        super().update_provider_tree(provider_tree, nodename, allocations=allocations)
        if CONF.libvirt.virt_type in preparation.VIRT_TYPES:
            provider_tree.add_traits(nodename, TRAIT)
        else:
            provider_tree.remove_traits(nodename, TRAIT)

    def prepare_rescue(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        image_id: str,
        admin_password: str,
        get_block_device_info: Callable[[], dict[str, Any]],
    ) -> bool:
        """Plan a rescue and prepare it, without touching the guest.

        :param admin_password: the password that the API has returned to the user; it
            goes to the config drive
        :param get_block_device_info: returns the server's block devices; only called
            for a stable rescue
        :returns: False for a stock rescue that cannot be prepared on this host
        :raises nova.exception.InstanceNotRescuable: if the rescue is refused
        """
        with timeutils.StopWatch() as watch, refusing(instance, context):
            # A stock rescue would save the rescue definition as the original (U8).
            transitions.finish_earlier_rescue(self, context, instance)
            image = nova_internals.image_api_of(self).get(context, image_id)
            request = preparation.request_of(image)
            if request is None and CONF.libvirt.virt_type not in preparation.VIRT_TYPES:
                inspection.check_stock(context, instance, image)
                return False
            LOG.info("Preparing a rescue with image %s", image_id, instance=instance)
            if request is None:
                prepared = stock_rescue.prepare(self, context, instance, image)
            else:
                prepared = preparation.prepare(
                    self,
                    context,
                    instance,
                    image,
                    request,
                    admin_password,
                    get_block_device_info,
                    self.managed,
                )
        LOG.info(
            "Prepared a %s in %.2f seconds",
            prepared.record.kind,
            watch.elapsed(),
            instance=instance,
        )
        evidence.prepared(self, instance, context, prepared.record)
        self._prepared[instance.uuid] = prepared
        return True

    def plan_rescue(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        image_id: str,
        properties: dict[str, str],
        get_block_device_info: Callable[[], dict[str, Any]],
    ) -> planning.Planned:
        """Return what a rescue would do; nothing is changed.

        Errors propagate; :func:`refusal.reason_of` has the reason for each.

        :param properties: complete the properties of the image, or replace them
        :raises NotPlanned: if a plan cannot be made without a change
        """
        image = nova_internals.image_api_of(self).get(context, image_id)
        image = {**image, "properties": (image.get("properties") or {}) | properties}
        return planning.plan(self, context, instance, image, get_block_device_info)

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
        """Boot the server from its rescue disk; in a stable rescue, no device moves.

        Errors of a stock rescue that was not prepared propagate.

        :raises nova.exception.InstanceNotRescuable: if any other rescue is refused, or
            if it failed and was rolled back
        """
        stock = functools.partial(
            super().rescue,
            context,
            instance,
            network_info,
            image_meta,
            rescue_password,
            block_device_info,
            share_info,
        )
        prepared = self._take_prepared(
            context, instance, image_meta, rescue_password, block_device_info or {}
        )
        if prepared is None:
            stock()
            return
        start_stock = functools.partial(stock_rescue.start, self, instance, stock)
        with (
            timeutils.StopWatch() as watch,
            metrics.counted(metrics.RESCUES, prepared.record.is_stock),
            failing(instance, "the rescue failed"),
        ):
            try:
                transitions.begin(self, context, instance, prepared.record, start_stock)
            finally:
                self._remove_record_unless_managed(instance)
        LOG.info("Rescued in %.2f seconds", watch.elapsed(), instance=instance)
        evidence.started(self, instance)
        self._boots.begin(context, instance, prepared.record.rescue_xml)

    def confirm_rescue(
        self, context: nova_context.RequestContext, instance: "objects.Instance"
    ) -> None:
        """Check, just before power-off, that a prepared rescue still fits the server.

        Call it with the instance's lock held.

        :raises nova.exception.InstanceNotRescuable: if devices or disks have changed;
            the prepared rescue is discarded
        """
        try:
            with refusing(instance, context):
                self._prepared[instance.uuid].check_unchanged()
        except nova_exception.InstanceNotRescuable:
            with excutils.save_and_reraise_exception(logger=LOG):
                self.discard_rescue(instance, deleted=False)

    def discard_rescue(self, instance: "objects.Instance", deleted: bool) -> None:
        """Remove a prepared rescue that is not wanted any more.

        :param deleted: the instance is deleted, or is about to be
        """
        prepared = self._prepared.pop(instance.uuid, None)
        if prepared is not None:
            LOG.info("Discarding a prepared rescue", instance=instance)
            prepared.discard()
            evidence.discarded(self, instance)
        if deleted:
            store.remove_instance_directory(instance)

    def unrescue(
        self, context: nova_context.RequestContext, instance: "objects.Instance"
    ) -> None:
        """Restore the original definition and power state.

        Errors of a stock unrescue propagate.

        :raises nova.exception.InstanceNotRescuable: if a stable rescue cannot be
            ended; its record is kept
        """
        self._boots.end(instance)
        outdated.remove(self, instance)
        record = store.load(instance)
        if record is None or record.state not in _RESCUED:
            stock_unrescue = self._stock_unrescue(context, instance)
            with metrics.counted(metrics.UNRESCUES, is_stock=True):
                stock_rescue.unrescue(self, context, instance, stock_unrescue)
            return
        LOG.info("Ending a %s", record.kind, instance=instance)
        evidence.ending(self, instance, record)
        with (
            timeutils.StopWatch() as watch,
            metrics.counted(metrics.UNRESCUES, record.is_stock),
        ):
            transitions.end(self, context, instance, record)
            self._remove_record_unless_managed(instance)
        LOG.info("Unrescued in %.2f seconds", watch.elapsed(), instance=instance)
        evidence.ended(self, instance)

    def known_rescue(self, instance: "objects.Instance") -> KnownRescue:
        """Return what this host knows about an instance's rescue.

        Call it with the instance's lock held, or the value may be outdated before it
        is used.

        :raises OSError: if the instance's directory cannot be read
        """
        is_outdated = functools.partial(outdated.seems_outdated, self, instance)
        return store.known_rescue(instance, is_outdated)

    def instances_with_rescue_record(self) -> list[str]:
        """Return the UUIDs of this host's instances with a record, even damaged."""
        return store.with_record(self.list_instance_uuids())

    def remove_rescue_record(self, instance: "objects.Instance") -> None:
        """Remove the record of a rescue that has ended, once Nova's database agrees.

        :raises OSError: if it cannot be removed
        """
        record = store.load(instance)
        if record is not None and record.state is State.ENDED:
            store.store_of(instance).remove_record()

    def recover_rescue(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        finish: bool = False,
    ) -> Outcome | None:
        """Finish or roll back a rescue, or the end of one, that was interrupted.

        Errors propagate; the record is then kept.

        :param finish: end a rescue whose end had begun, instead of returning to it
        :returns: None if there was nothing to recover
        """
        self._prepared.pop(instance.uuid, None)
        self._boots.end(instance)
        with timeutils.StopWatch() as watch, metrics.failure_counted():
            outdated.remove(self, instance)
            outcome = transitions.recover(self, context, instance, finish)
            if outcome is None:
                stock_unrescue = self._stock_unrescue(context, instance)
                outcome = stock_rescue.recover(
                    self, context, instance, finish, stock_unrescue
                )
        if outcome is not None:
            metrics.RECOVERIES.labels(outcome.name.lower()).inc()
            LOG.info(
                "Recovered an interrupted rescue in %.2f seconds: the server is %s",
                watch.elapsed(),
                outcome.name.lower(),
                instance=instance,
            )
            evidence.recovered(self, instance, outcome)
        return outcome

    def expected_rescue_recovery(
        self, instance: "objects.Instance", finish: bool = False
    ) -> Outcome | None:
        """Return what recover_rescue would return if all its steps succeed.

        Nothing is changed. Errors of libvirt propagate.

        :raises OSError: if the instance's directory cannot be read
        """
        known = self.known_rescue(instance)
        if known.record is not None:
            return transitions.expected_outcome(self, instance, known.record, finish)
        return stock_rescue.expected_outcome(self, instance, known, finish)

    def expected_rescue_clean_up(self, instance: "objects.Instance") -> bool:
        """Return True if clean_up_rescue would leave nothing of a rescue.

        Nothing is changed. Errors of libvirt propagate.
        """
        return transitions.expected_rescue_clean_up(self, instance)

    def clean_up_rescue(
        self, context: nova_context.RequestContext, instance: "objects.Instance"
    ) -> None:
        """Remove the leftovers of a rescue that has ended; the guest keeps running.

        Errors of libvirt and of the storage propagate.
        """
        LOG.info("Removing the leftovers of an ended rescue", instance=instance)
        transitions.clean_up(self, instance)

    def _take_prepared(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        image_meta: "objects.ImageMeta",
        admin_password: str,
        block_device_info: dict[str, Any],
    ) -> Prepared | None:
        """Return the prepared rescue; prepare it now if no manager has done so."""
        if instance.uuid in self._prepared:
            return self._prepared.pop(instance.uuid)
        try:
            is_stable = preparation.is_stable(instance, image_meta, self.managed)
            if is_stable:
                self.prepare_rescue(
                    context,
                    instance,
                    image_meta.id,
                    admin_password,
                    lambda: block_device_info,
                )
            elif not self.managed:
                transitions.finish_earlier_rescue(self, context, instance)
        except Exception:  # noqa: BLE001 - the error propagates
            with excutils.save_and_reraise_exception(logger=LOG):
                # Nova's manager has powered the guest off already.
                if instance.vm_state == vm_states.ACTIVE:
                    ownership.start_after_refusal(self, context, instance)
        return self._prepared.pop(instance.uuid, None)

    def _stock_unrescue(
        self, context: nova_context.RequestContext, instance: "objects.Instance"
    ) -> Callable[[], None]:
        return functools.partial(super().unrescue, context, instance)

    def _remove_record_unless_managed(self, instance: "objects.Instance") -> None:
        if not self.managed:
            self.remove_rescue_record(instance)
