# SPDX-License-Identifier: Apache-2.0
"""Recovers one instance whose rescue was interrupted, with its lock held."""

from typing import TYPE_CHECKING, Any

from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from nova.compute import power_state, vm_states
from oslo_concurrency import lockutils
from oslo_log import log as logging

from stable_rescue import activity, nova_internals
from stable_rescue.compute.decision import Action, Situation, answer_of, decide
from stable_rescue.compute.states import (
    FAILED,
    INTERRUPTED,
    is_failed,
    save,
    save_over,
    states_of,
    was_running,
)
from stable_rescue.outcome import Answer, Outcome

if TYPE_CHECKING:
    from nova.compute import manager

    class ManagerBase(manager.ComputeManager):
        """What a mixin of this package completes, for the type checker."""
else:
    ManagerBase = object

LOG = logging.getLogger(__name__)


class InstanceRecoveryMixin(ManagerBase):
    """Decides what an instance needs, does it, and saves its state."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The instances whose last recovery failed. The next start tries all of them.
        self._unrecovered: set[str] = set()

    def _recover_one(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        wait: bool = True,
    ) -> Answer:
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
                obstacle = self._obstacle(instance)
                if obstacle:
                    LOG.info(
                        "The rescue is not recovered: the instance was deleted, is on "
                        "another host, or another operation works on it",
                        instance=instance,
                    )
                    return obstacle
                answer = self._recover(context, instance)
                if answer is Answer.FAILED:
                    self._unrecovered.add(instance.uuid)
                else:
                    self._unrecovered.discard(instance.uuid)
                return answer
        except lockutils.AcquireLockFailedException:
            LOG.info(
                "The rescue is not recovered now: another operation has the instance's "
                "lock",
                instance=instance,
            )
            return Answer.BUSY
        except nova_exception.InstanceUpdateConflict as exc:
            LOG.warning(
                "The state of the recovered instance is not saved, because another "
                "request has changed it meanwhile: %s",
                exc,
                instance=instance,
            )
            return Answer.CONFLICT
        except Exception:
            self._unrecovered.add(instance.uuid)
            LOG.exception(
                "Could not recover the rescue; nova-compute tries again after "
                "[stable_rescue] stalled_after seconds or at its next start",
                instance=instance,
            )
            return Answer.FAILED

    def _obstacle(self, instance: "objects.Instance") -> Answer | None:
        """Read an instance again; return None if this host may recover it.

        Any task but an interrupted rescue is another operation's: a rebuild or an
        evacuation, a migration, a deletion. The caller holds the instance's lock.
        """
        if not self._exists(instance):
            return Answer.UNKNOWN
        if instance.host != self.host:
            return Answer.ELSEWHERE
        if instance.task_state not in (None, *INTERRUPTED):
            return Answer.OTHER_TASK
        return None

    def _action(self, instance: "objects.Instance") -> Action:
        """Return what recovery does with an instance that it may recover."""
        known = self.driver.known_rescue(instance)
        in_rescue = instance.vm_state == vm_states.RESCUED
        return decide(
            Situation(
                instance.vm_state,
                instance.task_state,
                is_failed(instance),
                known.has_record,
                known.is_untouched,
                # libvirt is only asked if that matters.
                in_rescue and self._power_state(instance) == power_state.RUNNING,
            )
        )

    def _recover(
        self, context: nova_context.RequestContext, instance: "objects.Instance"
    ) -> Answer:
        match self._action(instance):
            case Action.FINISH:
                LOG.info("Recovering an interrupted rescue", instance=instance)
                failed = is_failed(instance)
                outcome = self._recover_rescue(context, instance, finish=True)
                return answer_of(outcome, failed)
            case Action.RESUME:
                LOG.info("Starting the rescue system again", instance=instance)
                outcome = self._recover_rescue(context, instance, finish=False)
                return Answer[outcome.name] if outcome else Answer.NOTHING
            case Action.KEEP:
                self._keep_launched_at(instance)
            case Action.CLEAN_UP:
                return self._clean_up(context, instance)
            case Action.END_ERROR:
                ended = self._end_failure(instance)
                return Answer.ERROR_ENDED if ended else Answer.FAILED
            case Action.DISCARD:
                # The ERROR is an operator's and stays. Libvirt may have been lost while
                # it checked the rescue definition, which the guest would start with
                # next.
                self.driver.clean_up_rescue(context, instance)
                return Answer.CLEANED_UP
            case Action.LEAVE_ERROR:
                return Answer.OTHER_ERROR
        return Answer.NOTHING

    def _clean_up(
        self, context: nova_context.RequestContext, instance: "objects.Instance"
    ) -> Answer:
        """Remove the leftovers of a rescue that has ended.

        The server was restored since: leave its guest, and an ERROR set later.
        """
        states = states_of(instance)
        current_state = self._power_state(instance)
        self._keep_stopped(instance, current_state)
        instance.system_metadata.pop(FAILED, None)
        if instance.obj_what_changed():
            # The previous nova-compute ended before Nova could save this.
            instance.power_state = current_state
            save_over(states, instance)
        self.driver.clean_up_rescue(context, instance)
        if self.driver.known_rescue(instance).has_record:
            return Answer.STILL_DEFINED
        return Answer.CLEANED_UP

    def _recover_rescue(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        finish: bool,
    ) -> Outcome | None:
        """Recover the server and save its state to Nova's database.

        The caller holds the instance's lock and has read the instance again. Errors
        propagate.

        :param finish: end the instance's task, and a rescue whose end had begun
        :returns: None if the driver had nothing to recover
        """
        states = states_of(instance)
        if finish:
            instance.task_state = None
        known = self.driver.known_rescue(instance)
        if self._power_state(instance) != power_state.RUNNING:
            # Both Nova's power-off and a host reboot leave them unmounted.
            nova_internals.mount_shares(self, context, instance)
        outcome: Outcome | None = self.driver.recover_rescue(context, instance, finish)
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
        return outcome

    def _end_failure(self, instance: "objects.Instance") -> bool:
        """End the ERROR of an earlier rescue, whose record is gone.

        A rescue that recovered the server from the earlier one may then be refused.

        :returns: True if the ERROR has ended
        """
        if not is_failed(instance):
            return False
        try:
            if self.driver.known_rescue(instance).has_record:
                return False
            ran = was_running(instance)
            if ran is None:
                state = self._power_state(instance)
                if state == power_state.NOSTATE:
                    return False  # libvirt does not answer
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
            return False
        return True

    def _set_restored(
        self, instance: "objects.Instance", was_running: bool | None = None
    ) -> None:
        """Set the vm_state that a restored server had before its rescue.

        :param was_running: True if the guest ran then; None if that is unknown, so that
            the guest's present state counts
        """
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
