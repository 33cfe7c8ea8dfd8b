# SPDX-License-Identifier: Apache-2.0
"""The compute manager: everything is checked and fetched before power-off."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

from nova import conf as nova_conf
from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects, utils
from nova.compute import manager, task_states, vm_states
from oslo_concurrency import lockutils
from oslo_log import log as logging
from oslo_service import periodic_task
from oslo_utils import timeutils

from stable_rescue import exception, nova_internals
from stable_rescue.compute import block_device, image
from stable_rescue.compute.attended import AttendedMixin
from stable_rescue.compute.recovery import RecoveryMixin
from stable_rescue.virt.phase import phase
from stable_rescue.virt.refusal import failing, refusing

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)


class StableRescueMixin(RecoveryMixin):
    """Keeps a server whole around a rescue: before it, when it fails, after a crash.

    Everything is prepared before Nova's manager powers the guest off (UPSTREAM U7).
    What fails later is brought to rest, and the server keeps its state.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Instances in a rescue or unrescue of ours, with the context to settle them.
        self._guarded: dict[str, nova_context.RequestContext] = {}

    def rescue_instance(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        rescue_password: str,
        rescue_image_ref: str | None,
        clean_shutdown: bool,
    ) -> None:
        """Rescue an instance on this host.

        :raises nova.exception.InstanceNotRescuable: where it cannot be done; the
            server stays as it was, or is so again, its task state cleared
        """
        rescue_password = rescue_password or utils.generate_password()
        # Nova chooses by what it is given, so both have the same one.
        rescue_image_ref = image.choose(instance, rescue_image_ref)
        ours = self._prepare_rescue(
            context, instance, rescue_image_ref, rescue_password
        )
        with self._guard(context, instance, ours, task_states.RESCUING) as wanted:
            if not wanted:
                self._discard_rescue(instance)
                return
            super().rescue_instance(
                context, instance, rescue_password, rescue_image_ref, clean_shutdown
            )
            if ours:
                self._keep_launched_at(instance)

    def unrescue_instance(
        self, context: nova_context.RequestContext, instance: "objects.Instance"
    ) -> None:
        """End an instance's rescue.

        :raises Exception: what stood in the way; the server is then still rescued
        """
        ran = self.driver.ran_before_rescue(instance)
        # Where nothing tells what it was, it stays to be unrescued: in ERROR, it could
        # not be asked for, and no start of nova-compute would know of a rescue.
        ours = ran is not None or self.driver.is_rescue_lost(instance)
        with self._guard(context, instance, ours, task_states.UNRESCUING) as wanted:
            if not wanted:
                return
            super().unrescue_instance(context, instance)
            if ours:
                self._forget(instance)

    @contextlib.contextmanager
    def _guard(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        ours: bool,
        task_state: str,
    ) -> Iterator[bool]:
        """Hold what is ours together; yield whether it is still wanted.

        The lock is the one that Nova holds while it deletes an instance: what else
        comes waits for the end, which is whole, and what came first has been done.
        """
        if not ours:
            yield True
            return
        with lockutils.lock(instance.uuid):
            if not self._is_still(instance, task_state):
                LOG.warning("It is not %s any more", task_state, instance=instance)
                yield False
                return
            self._guarded[instance.uuid] = context.elevated()
            try:
                yield True
            finally:
                self._guarded.pop(instance.uuid, None)

    # Nova 31 to 34 call it for whatever fails in a rescue or an unrescue.
    def _set_instance_obj_error_state(
        self, instance: "objects.Instance", clean_task_state: bool = False
    ) -> None:
        """Bring a failed rescue to rest; only what cannot be is an error."""
        context = self._guarded.pop(instance.uuid, None)
        if context is None:
            super()._set_instance_obj_error_state(instance, clean_task_state)
            return
        try:
            self._settle(context, instance, finish=False)
        except Exception:
            if self.driver.is_rescue_lost(instance):
                LOG.exception("It is still to be unrescued", instance=instance)
                return
            LOG.exception(
                "The server is neither itself nor rescued. Its record is kept: "
                "restart nova-compute on this host to finish it",
                instance=instance,
            )
            super()._set_instance_obj_error_state(instance, clean_task_state)

    # Nova 31 to 34 call it between calling a server ACTIVE that they have unrescued
    # and saving that: so nobody is told of a state that it is not in.
    def _get_power_state(self, instance: "objects.Instance") -> int:
        """Return the power state; a server that came back stopped is called so."""
        found = int(super()._get_power_state(instance))
        if instance.uuid in self._guarded:
            self._keep_stopped(instance, found)
        return found

    # Nova 31 to 34 call it before they call the driver's rescue.
    def _power_off_instance(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        clean_shutdown: bool = True,
    ) -> None:
        """Power off an instance; for a rescue of ours, users see that phase."""
        ours = instance.uuid in self._guarded
        with contextlib.ExitStack() as stack:
            if ours:
                stack.enter_context(phase(context, instance, "rescue_power_off"))
                stack.enter_context(
                    failing(instance, "the server could not be powered off")
                )
            super()._power_off_instance(context, instance, clean_shutdown)

    # The same decorators as on Nova's rescue_instance, less the one for the event:
    # the driver has one for each phase.
    @manager.wrap_exception()
    @manager.reverts_task_state
    @manager.wrap_instance_fault
    def _prepare_rescue(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        rescue_image_ref: str,
        rescue_password: str,
    ) -> bool:
        """Return whether it is a rescue of ours."""
        with refusing(instance):
            if not rescue_image_ref:
                raise exception.Refused(
                    "the server was made from no image; name one to rescue it with"
                )
            image_ref = nova_internals.rescue_image_ref(
                self, context, instance, rescue_image_ref
            )
        elevated = context.elevated()
        try:
            return self.driver.prepare_rescue(
                elevated,
                instance,
                image_ref,
                rescue_password,
                functools.partial(block_device.rebuild, self, elevated, instance),
            )
        except nova_exception.InstanceNotRescuable as exc:
            if self._is_still(instance, task_states.RESCUING):
                raise
            self._discard_rescue(instance)
            # It is being deleted, say: then its task state is not ours to clear.
            raise nova_exception.UnexpectedTaskStateError(
                instance_uuid=instance.uuid,
                expected={"task_state": task_states.RESCUING},
                actual={"task_state": instance.task_state},
            ) from exc

    def _discard_rescue(self, instance: "objects.Instance") -> None:
        """Remove what is prepared of a rescue that is not wanted any more."""
        deleted = (
            not self._is_there(instance) or instance.task_state == task_states.DELETING
        )
        self.driver.discard_rescue(instance, deleted)

    def _unrescue_overdue(self, context: nova_context.RequestContext) -> None:
        """End the rescues that are older than rescue_timeout, each on its own."""
        if CONF.rescue_timeout <= 0:
            return
        rescued = objects.InstanceList.get_by_filters(
            context,
            {"vm_state": vm_states.RESCUED, "host": self.host},
            expected_attrs=["system_metadata"],
            use_slave=True,
        )
        for instance in rescued:
            # Nova's own rescue says in launched_at when it began.
            since = self.driver.rescued_at(instance) or instance.launched_at
            if timeutils.is_older_than(since, CONF.rescue_timeout):
                try:
                    self.compute_api.unrescue(context, instance)
                except Exception:
                    LOG.exception(
                        "Its rescue is overdue and could not be ended",
                        instance=instance,
                    )


class ComputeManager(AttendedMixin, StableRescueMixin, manager.ComputeManager):
    """Nova's compute manager with our rescue."""

    # Of the class itself, as oslo.service takes no other.
    @periodic_task.periodic_task
    def _poll_rescued_instances(self, context: nova_context.RequestContext) -> None:
        self._unrescue_overdue(context)

    # Looks at the database only as often as stalled_after asks for.
    @periodic_task.periodic_task(spacing=10)
    def _settle_abandoned_rescues(self, context: nova_context.RequestContext) -> None:
        self._settle_abandoned(context)


nova_internals.replace_periodic_tasks(ComputeManager)
