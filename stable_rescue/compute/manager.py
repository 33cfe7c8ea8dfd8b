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
from nova.compute.manager import ComputeManager as NovaComputeManager
from oslo_concurrency import lockutils
from oslo_log import log as logging
from oslo_service import periodic_task
from oslo_utils import timeutils

from stable_rescue import conf, exception, nova_internals
from stable_rescue.compute import block_device, image, monitoring, rescue_driver
from stable_rescue.compute.recovery import RecoveryMixin
from stable_rescue.compute.requested import RequestedRecoveryMixin
from stable_rescue.compute.states import FAILED, INTERRUPTED, mark_failed
from stable_rescue.virt.phase import wait_for_events
from stable_rescue.virt.refusal import refusing

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)

# Another driver than StableRescueDriver does not register them.
conf.register_opts(CONF)


class StableRescueMixin(RecoveryMixin):
    """Keeps a server safe before a rescue, when one fails, and after a crash.

    Everything is prepared before Nova's manager powers the guest off (U7). If
    something fails later, the server is recovered and keeps its state.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The instances in a stable rescue or unrescue, with the context for recovery.
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

        :raises nova.exception.InstanceNotRescuable: if the rescue is refused or was
            rolled back; the server is unchanged and its task state cleared
        """
        if not self._is_wanted(instance, task_states.RESCUING):
            return
        rescue_password = rescue_password or utils.generate_password()
        # Nova chooses an image as well; passing this one makes both agree.
        rescue_image_ref = image.choose(instance, rescue_image_ref)
        if not self._prepare_rescue(
            context, instance, rescue_image_ref, rescue_password
        ):
            # Recovery may hold the lock and cancel the request, which it takes for
            # lost. Once this has the lock, the request is known to be worked on.
            with lockutils.lock(instance.uuid):
                is_wanted = self._is_wanted(instance, task_states.RESCUING)
            if is_wanted:
                super().rescue_instance(
                    context, instance, rescue_password, rescue_image_ref, clean_shutdown
                )
            return
        with (
            lockutils.lock(instance.uuid),
            self._guard(context, instance, task_states.RESCUING) as is_wanted,
        ):
            if not is_wanted:
                self._discard_rescue(instance)
                return
            self._confirm_rescue(context, instance)
            super().rescue_instance(
                context, instance, rescue_password, rescue_image_ref, clean_shutdown
            )
            self._keep_launched_at(instance)

    def unrescue_instance(
        self, context: nova_context.RequestContext, instance: "objects.Instance"
    ) -> None:
        """End an instance's rescue.

        :raises nova.exception.InstanceNotRescuable: if a stable rescue cannot be
            ended; the server stays rescued
        """
        with contextlib.ExitStack() as lock:
            lock.enter_context(lockutils.lock(instance.uuid))
            if not self.driver.known_rescue(instance).is_stable:
                is_wanted = self._is_wanted(instance, task_states.UNRESCUING)
                # Nova holds no lock while it ends a stock rescue.
                lock.close()
                if is_wanted:
                    super().unrescue_instance(context, instance)
                return
            with self._guard(context, instance, task_states.UNRESCUING) as is_wanted:
                if is_wanted:
                    super().unrescue_instance(context, instance)
                    self._remove_record(instance)

    @contextlib.contextmanager
    def _guard(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        task_state: str,
    ) -> Iterator[bool]:
        """Mark an instance for recovery in case the block fails.

        Yield False if the request is outdated: an earlier operation may have changed
        the task state while the caller waited for the instance's lock. The caller holds
        this lock, which Nova takes to delete an instance, so other operations block
        until this one completes.
        """
        if not self._is_wanted(instance, task_state):
            yield False
            return
        # An earlier rescue may have left it.
        instance.system_metadata.pop(FAILED, None)
        self._guarded[instance.uuid] = context.elevated()
        try:
            yield True
        finally:
            self._guarded.pop(instance.uuid, None)
            wait_for_events()

    def _is_wanted(self, instance: "objects.Instance", task_state: str) -> bool:
        """Read an instance again; return False if a request for it is outdated."""
        if self._is_still(instance, task_state):
            return True
        LOG.warning(
            "Dropping a request for this instance, which is not %s on this host any "
            "more",
            task_state,
            instance=instance,
        )
        return False

    # Nova calls this for every error of a rescue or an unrescue.
    def _set_instance_obj_error_state(
        self, instance: "objects.Instance", clean_task_state: bool = False
    ) -> None:
        """Recover from a failed rescue; set ERROR only if that fails too."""
        context = self._guarded.pop(instance.uuid, None)
        if context is None:
            if instance.vm_state == vm_states.RESCUED and instance.task_state in (
                None,
                *INTERRUPTED,
            ):
                # Nova failed to start the rescue system after a boot of the host.
                self._mark_failed(instance)
            super()._set_instance_obj_error_state(instance, clean_task_state)
            return
        try:
            self._recover_rescue(context, instance, finish=False)
        except nova_exception.InstanceUpdateConflict as exc:
            LOG.warning(
                "Leaving the instance in the state that another request has set since "
                "its rescue or unrescue failed: %s",
                exc,
                instance=instance,
            )
        except Exception:
            if self._must_stay_rescued(instance):
                LOG.exception(
                    "Unrescue failed; the instance stays RESCUED, and the user can "
                    "retry unrescue",
                    instance=instance,
                )
                return
            LOG.exception(
                "Could not recover the server, which is neither restored nor rescued. "
                "nova-compute tries again after [stable_rescue] stalled_after seconds "
                "or at its next start",
                instance=instance,
            )
            self._mark_failed(instance)
            super()._set_instance_obj_error_state(instance, clean_task_state)

    def _mark_failed(self, instance: "objects.Instance") -> None:
        """Note that nova-compute sets the instance to ERROR, and what it was before."""
        try:
            was_running = self.driver.known_rescue(instance).was_running
        except Exception:  # noqa: BLE001 - the failure itself is reported
            was_running = None
        mark_failed(instance, was_running)

    def _must_stay_rescued(self, instance: "objects.Instance") -> bool:
        """Return True if a rescued instance has no record that can be read.

        In ERROR the user could not unrescue it, and recovery would not recognize a
        rescue.
        """
        if instance.vm_state != vm_states.RESCUED:
            return False
        try:
            return bool(self.driver.known_rescue(instance).is_lost)
        except OSError:
            return True

    # Nova calls this after it has set an unrescued instance to ACTIVE and before it
    # saves that, so no user ever sees the wrong state.
    def _get_power_state(self, instance: "objects.Instance") -> int:
        """Return the power state; keep an instance STOPPED if it was stopped."""
        power_state = int(super()._get_power_state(instance))
        if instance.uuid in self._guarded:
            self._keep_stopped(instance, power_state)
        return power_state

    # Nova calls this before it calls the driver's rescue.
    def _power_off_instance(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        clean_shutdown: bool = True,
    ) -> None:
        """Power off an instance, but not before a stable rescue.

        The driver shuts it down when nothing else is left to do but to start it.
        """
        if instance.uuid not in self._guarded:
            super()._power_off_instance(context, instance, clean_shutdown)

    # The decorators of Nova's rescue_instance, without the one for the event: the
    # driver reports an event for each phase.
    @manager.wrap_exception()
    @manager.reverts_task_state
    @manager.wrap_instance_fault
    def _prepare_rescue(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        rescue_image_ref: str | None,
        rescue_password: str,
    ) -> bool:
        """Prepare a stable rescue; return False if the image asks for a stock one."""
        with refusing(instance, context):
            if not rescue_image_ref:
                raise exception.Refused(
                    "the server was made from no image; name an image to rescue it with"
                )
            image_ref = nova_internals.rescue_image_ref(
                self, context, instance, rescue_image_ref
            )
        elevated = context.elevated()
        try:
            return bool(
                self.driver.prepare_rescue(
                    elevated,
                    instance,
                    image_ref,
                    rescue_password,
                    functools.partial(block_device.rebuild, self, elevated, instance),
                )
            )
        except nova_exception.InstanceNotRescuable as exc:
            if self._is_still(instance, task_states.RESCUING):
                self._end_failure(instance)
                raise
            self._discard_rescue(instance)
            # Another operation, such as delete, has taken the instance over. The
            # decorators must not clear its task state.
            raise nova_exception.UnexpectedTaskStateError(
                instance_uuid=instance.uuid,
                expected={"task_state": task_states.RESCUING},
                actual={"task_state": instance.task_state},
            ) from exc

    # The same decorators, for the same reasons.
    @manager.wrap_exception()
    @manager.reverts_task_state
    @manager.wrap_instance_fault
    def _confirm_rescue(
        self, context: nova_context.RequestContext, instance: "objects.Instance"
    ) -> None:
        """Check that the server is still as its rescue was planned for.

        The caller holds the instance's lock.
        """
        self.driver.confirm_rescue(context.elevated(), instance)

    def _discard_rescue(self, instance: "objects.Instance") -> None:
        """Remove a prepared rescue that is not wanted any more."""
        deleted = (
            not self._exists(instance) or instance.task_state == task_states.DELETING
        )
        self.driver.discard_rescue(instance, deleted)

    def _unrescue_overdue(self, context: nova_context.RequestContext) -> None:
        """End rescues that are older than rescue_timeout, each on its own (U29)."""
        if CONF.rescue_timeout <= 0:
            return
        rescued = objects.InstanceList.get_by_filters(
            context,
            {"vm_state": vm_states.RESCUED, "host": self.host},
            expected_attrs=["system_metadata"],
            use_slave=True,
        )
        for instance in rescued:
            try:
                # A stock rescue sets launched_at to the time when it began.
                rescued_at = self.driver.known_rescue(instance).rescued_at
                since = rescued_at or instance.launched_at
                if timeutils.is_older_than(since, CONF.rescue_timeout):
                    self.compute_api.unrescue(context, instance)
            except Exception:
                LOG.exception(
                    "Could not end a rescue that is older than rescue_timeout; "
                    "trying again in the next period",
                    instance=instance,
                )


class ComputeManager(RequestedRecoveryMixin, StableRescueMixin, NovaComputeManager):
    """Nova's compute manager with stable rescue."""

    def __new__(
        cls, compute_driver: str | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Return Nova's manager, unchanged, if the driver does not take part."""
        name = compute_driver or CONF.compute_driver
        if rescue_driver.takes_part(name):
            return super().__new__(cls)
        LOG.info("Driver %s has no stable rescue; using Nova's manager", name)
        return NovaComputeManager(compute_driver, *args, **kwargs)

    # oslo.service only collects tasks that are defined on the class itself.
    @periodic_task.periodic_task
    def _poll_rescued_instances(self, context: nova_context.RequestContext) -> None:
        self._unrescue_overdue(context)

    # The task itself queries the database only as often as stalled_after asks for.
    @periodic_task.periodic_task(spacing=10)
    def _recover_stalled_rescues(self, context: nova_context.RequestContext) -> None:
        self._recover_stalled(context)

    @periodic_task.periodic_task(spacing=10)
    def _recover_requested_rescues(self, context: nova_context.RequestContext) -> None:
        self._recover_requested(context)

    @periodic_task.periodic_task(spacing=60)
    def _write_rescue_metrics(self, context: nova_context.RequestContext) -> None:
        monitoring.write_metrics(context, self.host, len(self._unrecovered))

    @periodic_task.periodic_task(spacing=3600)
    def _remove_old_rescue_reports(self, context: nova_context.RequestContext) -> None:
        monitoring.remove_old_reports()


nova_internals.replace_periodic_tasks(ComputeManager)
