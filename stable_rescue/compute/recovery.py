# SPDX-License-Identifier: Apache-2.0
"""Recovers instances whose rescue was interrupted, when nova-compute starts."""

import functools
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Any

from nova import conf as nova_conf
from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from nova.compute import power_state, vm_states
from oslo_concurrency import lockutils
from oslo_log import log as logging

from stable_rescue import activity, nova_internals
from stable_rescue.compute.states import (
    EXPECTED_ATTRS,
    FAILED,
    INTERRUPTED,
    is_failed,
    may_be_queued,
    save,
    save_over,
    states_of,
    was_running,
)
from stable_rescue.outcome import Outcome
from stable_rescue.workers import Workers

if TYPE_CHECKING:
    from nova.compute import manager

    class ManagerBase(manager.ComputeManager):
        """What a mixin of this package completes, for the type checker."""
else:
    ManagerBase = object

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)


class RecoveryMixin(ManagerBase):
    """Recovers this host's instances whose rescue was interrupted (U24)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # By instance UUID; None until the first instance of a start is initialized.
        self._recoveries: dict[str, Future[None]] | None = {}
        self._evacuated: frozenset[str] = frozenset()
        # The instances whose last recovery failed. The next start tries all of them.
        self._unrecovered: set[str] = set()
        self._deadline = 0.0
        self._workers = Workers(
            lambda: CONF.stable_rescue.recovery_workers, "stable-rescue-recovery"
        )
        self.driver.managed = True

    def init_host(self, *args: Any, **kwargs: Any) -> None:
        """Start the host; Nova calls _init_instance for each of its instances."""
        self._recoveries = None
        try:
            super().init_host(*args, **kwargs)
        finally:
            self._recoveries = {}

    # Nova destroys the guests of these instances, and initializes all others.
    def _destroy_evacuated_instances(
        self, context: nova_context.RequestContext, node_cache: Any
    ) -> Any:
        """Destroy evacuated instances; they are not recovered here."""
        evacuated = super()._destroy_evacuated_instances(context, node_cache)
        self._evacuated = frozenset(evacuated)
        return evacuated

    # Recovery comes first: Nova takes a guest that is off for one that has failed.
    def _init_instance(
        self, context: nova_context.RequestContext, instance: "objects.Instance"
    ) -> None:
        """Recover the instance if its rescue was interrupted, then initialize it.

        The first call starts all recoveries of the host, a few at a time. A recovery
        that hangs delays neither the others nor the start of the service.
        """
        if self._recoveries is None:
            self._recoveries = self._start_recoveries(context)
        if self._recoveries and instance.uuid in self._recoveries:
            recovery = self._recoveries[instance.uuid]
            try:
                recovery.result(max(0.0, self._deadline - time.monotonic()))
            except FutureTimeoutError:
                LOG.warning(
                    "Recovery of the rescue is still running after %d seconds; "
                    "continuing in the background",
                    CONF.stable_rescue.recovery_timeout,
                    instance=instance,
                )
                recovery.add_done_callback(
                    lambda _: self._init_later(context, instance)
                )
                return
            if not self._is_here(instance):
                return
        super()._init_instance(context, instance)
        if (
            self._unrecovered
            and instance.uuid in self._unrecovered
            and self._power_state(instance) == power_state.RUNNING
        ):
            # Nova has resumed it. If the guest is off later, its user wants that.
            self._unrecovered.discard(instance.uuid)

    def _init_later(
        self, context: nova_context.RequestContext, instance: "objects.Instance"
    ) -> None:
        try:
            if self._is_here(instance):
                super()._init_instance(context, instance)
        except Exception:
            LOG.exception(
                "Could not initialize the instance after its recovery; "
                "the next start of nova-compute tries again",
                instance=instance,
            )

    def _start_recoveries(
        self, context: nova_context.RequestContext
    ) -> dict[str, "Future[None]"]:
        """Start the recovery of every instance that needs one; return the futures."""
        self._deadline = time.monotonic() + CONF.stable_rescue.recovery_timeout
        instances = [
            instance
            for instance in objects.InstanceList.get_by_host(
                context, self.host, expected_attrs=EXPECTED_ATTRS
            )
            if instance.uuid not in self._evacuated
            and self._may_need_recovery(instance)
        ]
        if not instances:
            return {}
        LOG.info("Checking the rescues of %d instances", len(instances))
        return {
            instance.uuid: self._workers.submit(
                functools.partial(self._recover_one, context, instance)
            )
            for instance in instances
        }

    def _may_need_recovery(self, instance: "objects.Instance") -> bool:
        in_rescue = (
            instance.task_state in INTERRUPTED or instance.vm_state == vm_states.RESCUED
        )
        try:
            known = self.driver.known_rescue(instance)
        except OSError:
            LOG.exception(
                "Could not read the instance's directory to look for leftovers of a "
                "rescue; the next start of nova-compute tries again",
                instance=instance,
            )
            return in_rescue
        if may_be_queued(instance, known):
            LOG.info(
                "Leaving the instance in task %s: its request may still be in the "
                "message queue. If the request is lost, the task is canceled after "
                "[stable_rescue] stalled_after seconds",
                instance.task_state,
                instance=instance,
            )
            return False
        return in_rescue or known.has_record or is_failed(instance)

    def _recover_one(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        wait: bool = True,
    ) -> None:
        """Recover an instance that was chosen earlier, if that is still right.

        The instance is read again under its lock, because it may have changed while
        the recovery was queued. Errors are logged.

        :param wait: wait for the lock; otherwise, skip an instance that is locked
        """
        try:
            with (
                activity.activity(instance.uuid, "recovery"),
                lockutils.lock(instance.uuid, blocking=wait),
            ):
                if self._may_recover(instance):
                    self._recover(context, instance)
                    self._unrecovered.discard(instance.uuid)
                else:
                    LOG.info(
                        "The rescue is not recovered: the instance was deleted, is on "
                        "another host, or another operation works on it",
                        instance=instance,
                    )
        except lockutils.AcquireLockFailedException:
            LOG.info(
                "The rescue is not recovered now: another operation has the instance's "
                "lock",
                instance=instance,
            )
        except nova_exception.InstanceUpdateConflict as exc:
            LOG.warning(
                "The state of the recovered instance is not saved, because another "
                "request has changed it meanwhile: %s",
                exc,
                instance=instance,
            )
        except Exception:
            self._unrecovered.add(instance.uuid)
            LOG.exception(
                "Could not recover the rescue; nova-compute tries again after "
                "[stable_rescue] stalled_after seconds or at its next start",
                instance=instance,
            )

    def _may_recover(self, instance: "objects.Instance") -> bool:
        """Read an instance again; return True if this host may recover it.

        Any task but an interrupted rescue is another operation's: a rebuild or an
        evacuation, a migration, a deletion. The caller holds the instance's lock.
        """
        return self._is_here(instance) and instance.task_state in (None, *INTERRUPTED)

    def _recover(
        self, context: nova_context.RequestContext, instance: "objects.Instance"
    ) -> None:
        known = self.driver.known_rescue(instance)
        has_record = known.has_record
        if instance.task_state in INTERRUPTED or (has_record and is_failed(instance)):
            LOG.info("Recovering an interrupted rescue", instance=instance)
            self._recover_rescue(context, instance, finish=True)
        elif instance.vm_state == vm_states.RESCUED:
            # The guest is off if the host was rebooted (U14, U15).
            if self._power_state(instance) != power_state.RUNNING:
                LOG.info("Starting the rescue system again", instance=instance)
                self._recover_rescue(context, instance, finish=False)
            else:
                self._keep_launched_at(instance)
        elif has_record and instance.vm_state != vm_states.ERROR:
            # The server was restored since: leave its guest, and an ERROR set later.
            states = states_of(instance)
            current_state = self._power_state(instance)
            self._keep_stopped(instance, current_state)
            instance.system_metadata.pop(FAILED, None)
            if instance.obj_what_changed():
                # The previous nova-compute ended before Nova could save this.
                instance.power_state = current_state
                save_over(states, instance)
            self.driver.clean_up_rescue(context, instance)
        elif is_failed(instance):
            self._end_failure(instance)
        elif known.is_untouched:
            # The ERROR is an operator's and stays. Libvirt may have been lost while it
            # checked the rescue definition, which the guest would start with next.
            self.driver.clean_up_rescue(context, instance)

    def _recover_rescue(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        finish: bool,
    ) -> None:
        """Recover the server and save its state to Nova's database.

        The caller holds the instance's lock and has read the instance again. Errors
        propagate.

        :param finish: end the instance's task, and a rescue whose end had begun
        """
        states = states_of(instance)
        if finish:
            instance.task_state = None
        known = self.driver.known_rescue(instance)
        if self._power_state(instance) != power_state.RUNNING:
            # Both Nova's power-off and a host reboot leave them unmounted.
            nova_internals.mount_shares(self, context, instance)
        outcome = self.driver.recover_rescue(context, instance, finish)
        if outcome is Outcome.RESCUED:
            instance.vm_state = vm_states.RESCUED
        elif is_failed(instance) or (
            outcome is Outcome.RESTORED
            and (
                instance.vm_state == vm_states.RESCUED
                # The previous nova-compute could not roll the rescue back.
                or (finish and instance.vm_state == vm_states.ERROR)
            )
        ):
            self._set_restored(instance, known.was_running)
        instance.launched_at = known.launched_at or instance.launched_at
        # Of a guest that recovery has not touched, the power state is kept: if it says
        # that the guest ran, Nova starts it again after a boot of the host.
        if outcome in (Outcome.RESTORED, Outcome.RESCUED):
            instance.power_state = self._power_state(instance)
        instance.system_metadata.pop(FAILED, None)
        save_over(states, instance)
        self._remove_record(instance)

    def _end_failure(self, instance: "objects.Instance") -> None:
        """End the ERROR of an earlier rescue, whose record is gone.

        A rescue that recovered the server from the earlier one may then be refused.
        """
        if not is_failed(instance):
            return
        try:
            if self.driver.known_rescue(instance).has_record:
                return
            ran = was_running(instance)
            if ran is None:
                state = self._power_state(instance)
                if state == power_state.NOSTATE:
                    return  # libvirt does not answer
                ran = state == power_state.RUNNING
            states = states_of(instance)
            self._set_restored(instance, ran)
            instance.power_state = power_state.RUNNING if ran else power_state.SHUTDOWN
            instance.system_metadata.pop(FAILED)
            save_over(states, instance)
        except Exception:
            self._unrecovered.add(instance.uuid)
            LOG.exception(
                "Could not end the ERROR of an earlier rescue; nova-compute tries "
                "again after [stable_rescue] stalled_after seconds or at its next "
                "start",
                instance=instance,
            )

    def _set_restored(
        self, instance: "objects.Instance", was_running: bool | None = None
    ) -> None:
        """Set the state of a restored server; if it is unknown, the guest's state."""
        if was_running is None:
            was_running = self._power_state(instance) == power_state.RUNNING
        instance.vm_state = vm_states.ACTIVE if was_running else vm_states.STOPPED

    def _remove_record(self, instance: "objects.Instance") -> None:
        """Remove the record of an ended rescue, now that the database agrees."""
        try:
            self.driver.remove_rescue_record(instance)
        except Exception:
            LOG.exception(
                "Could not remove the record of an ended rescue; nova-compute tries "
                "again after [stable_rescue] stalled_after seconds or at its next "
                "start",
                instance=instance,
            )

    def _keep_stopped(self, instance: "objects.Instance", current_state: int) -> None:
        """Set an instance to STOPPED if it was stopped before its rescue (U18).

        Nova sets every instance to ACTIVE after unrescue.

        :param current_state: the guest's power state
        """
        if (
            instance.vm_state == vm_states.ACTIVE
            and current_state != power_state.RUNNING
            and self.driver.known_rescue(instance).was_running is False
        ):
            instance.vm_state = vm_states.STOPPED

    def _keep_launched_at(self, instance: "objects.Instance") -> None:
        """Give launched_at the value from before the rescue (U29)."""
        launched_at = self.driver.known_rescue(instance).launched_at
        instance.launched_at = launched_at or instance.launched_at
        # Nova has saved NOSTATE if libvirt did not answer.
        instance.power_state = self._power_state(instance)
        if instance.obj_what_changed():
            save(instance)

    def _power_state(self, instance: "objects.Instance") -> int:
        return nova_internals.power_state(self, instance)

    def _is_still(self, instance: "objects.Instance", task_state: str) -> bool:
        """Read an instance again; return True if it is here and in this task state."""
        return self._is_here(instance) and bool(instance.task_state == task_state)

    def _is_here(self, instance: "objects.Instance") -> bool:
        """Read an instance again; return True if it exists and is on this host."""
        return self._exists(instance) and bool(instance.host == self.host)

    def _exists(self, instance: "objects.Instance") -> bool:
        """Read an instance again; return False if it was deleted."""
        try:
            instance.refresh()
        except nova_exception.InstanceNotFound:
            return False
        return True
