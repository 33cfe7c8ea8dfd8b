# SPDX-License-Identifier: Apache-2.0
"""What a start of nova-compute does for rescues: finished, undone or run again."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotDone
from typing import Any

from nova import conf as nova_conf
from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from nova.compute import power_state, task_states, vm_states
from oslo_concurrency import lockutils
from oslo_log import log as logging

from stable_rescue import nova_internals, steps
from stable_rescue.storage.record import Rest

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)

CUT_SHORT = (task_states.RESCUING, task_states.UNRESCUING)
# What Nova loads for the instances of a host, and recovery needs of them.
EXPECTED = ["info_cache", "metadata", "system_metadata", "numa_topology", "flavor"]


@steps.changes("save the instance")
def save(instance: "objects.Instance") -> None:
    """Write the instance to Nova's database."""
    instance.save()


class RecoveryMixin:
    """Brings the servers of this host to rest that were left between."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # None while a start has not begun them.
        self._recoveries: dict[str, Future[None]] | None = {}
        self._deadline = 0.0
        self.driver.managed = True

    def init_host(self, *args: Any, **kwargs: Any) -> None:
        """Start the host; each of its instances goes through _init_instance."""
        self._recoveries = None
        try:
            super().init_host(*args, **kwargs)
        finally:
            self._recoveries = {}

    # Before Nova looks at the instance: it would take a rescue for a lost guest.
    def _init_instance(
        self, context: nova_context.RequestContext, instance: "objects.Instance"
    ) -> None:
        """Finish or undo what an earlier process left (UPSTREAM U24).

        All that is to be done on the host is begun at the first instance, some at a
        time; one that hangs keeps neither the others nor the service from starting.
        """
        if self._recoveries is None:
            self._recoveries = self._start_recoveries(context)
        if self._recoveries and instance.uuid in self._recoveries:
            recovery = self._recoveries[instance.uuid]
            try:
                recovery.result(max(0.0, self._deadline - time.monotonic()))
            except NotDone:
                LOG.warning(
                    "Its rescue is still being settled; that goes on", instance=instance
                )
                recovery.add_done_callback(
                    lambda _: self._init_later(context, instance)
                )
                return
            if not self._is_there(instance):
                return
        super()._init_instance(context, instance)

    def _init_later(
        self, context: nova_context.RequestContext, instance: "objects.Instance"
    ) -> None:
        try:
            if self._is_there(instance):
                super()._init_instance(context, instance)
        except Exception:
            LOG.exception("It could not be initialized", instance=instance)

    def _start_recoveries(
        self, context: nova_context.RequestContext
    ) -> dict[str, "Future[None]"]:
        """Begin to settle all that there is to settle; return it by instance."""
        self._deadline = time.monotonic() + CONF.stable_rescue.recovery_timeout
        found = objects.InstanceList.get_by_host(
            context, self.host, expected_attrs=EXPECTED
        )
        concerned = [instance for instance in found if self._is_concerned(instance)]
        if not concerned:
            return {}
        LOG.info("%d instances were in a rescue", len(concerned))
        pool = ThreadPoolExecutor(CONF.stable_rescue.recovery_workers)
        try:
            return {
                instance.uuid: pool.submit(self._recover_one, context, instance)
                for instance in concerned
            }
        finally:
            pool.shutdown(wait=False)

    def _is_concerned(self, instance: "objects.Instance") -> bool:
        try:
            return (
                instance.task_state in CUT_SHORT
                or instance.vm_state == vm_states.RESCUED
                or self.driver.has_rescue_record(instance)
            )
        except OSError:
            LOG.exception("Its directory cannot be read", instance=instance)
            return False

    def _recover_one(
        self, context: nova_context.RequestContext, instance: "objects.Instance"
    ) -> None:
        try:
            with lockutils.lock(instance.uuid):
                self._recover(context, instance)
        except Exception:
            LOG.exception(
                "Its rescue could not be settled; the next start of nova-compute "
                "tries again",
                instance=instance,
            )

    def _recover(
        self, context: nova_context.RequestContext, instance: "objects.Instance"
    ) -> None:
        if instance.task_state == task_states.DELETING:
            return  # Nova goes on with it
        left = self.driver.has_rescue_record(instance)
        if instance.task_state in CUT_SHORT or (
            left and instance.vm_state == vm_states.ERROR
        ):
            LOG.info("A rescue was cut short; settling it", instance=instance)
            instance.task_state = None
            self._settle(context, instance, finish=True)
        elif instance.vm_state == vm_states.RESCUED:
            # The host may have been started again (UPSTREAM U14, U15).
            if self._power_state(instance) != power_state.RUNNING:
                LOG.info("Starting its rescue system again", instance=instance)
                self._settle(context, instance, finish=False)
            else:
                self._keep_launched_at(instance)
        elif left:
            # It was brought back since, perhaps in another way: leave the guest be.
            found = self._power_state(instance)
            self._keep_stopped(instance, found)
            if instance.obj_what_changed():  # Nova had no answer, as of libvirt
                instance.power_state = found
                save(instance)
            self.driver.sweep_rescue(context, instance)

    def _settle(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        finish: bool,
    ) -> None:
        """Bring a server to rest, and have Nova know where it is.

        :raises Exception: what stood in the way
        """
        ran = self.driver.ran_before_rescue(instance)
        launched_at = self.driver.launched_before_rescue(instance)
        if self._power_state(instance) != power_state.RUNNING:
            # Nova unmounts them where it powers off, and so does the host's start.
            nova_internals.mount_shares(self, context, instance)
        rest = self.driver.settle_rescue(context, instance, finish)
        if rest is Rest.RESCUED:
            instance.vm_state = vm_states.RESCUED
        elif rest is Rest.ITSELF and (
            instance.vm_state == vm_states.RESCUED
            # A rescue that could not be undone by the process before this one.
            or (finish and instance.vm_state == vm_states.ERROR)
        ):
            if ran is None:
                ran = self._power_state(instance) == power_state.RUNNING
            instance.vm_state = vm_states.ACTIVE if ran else vm_states.STOPPED
        instance.launched_at = launched_at or instance.launched_at
        instance.power_state = self._power_state(instance)
        save(instance)
        self._forget(instance)

    def _forget(self, instance: "objects.Instance") -> None:
        """Remove the record of a rescue that has ended, as Nova knows now."""
        try:
            self.driver.forget_rescue(instance)
        except Exception:
            LOG.exception("The record of its rescue is left", instance=instance)

    def _keep_stopped(self, instance: "objects.Instance", found: int) -> None:
        """Call a server stopped that came back so (UPSTREAM U18).

        Nova calls each server ACTIVE that it has unrescued.

        :param found: its power state
        """
        if (
            self.driver.ran_before_rescue(instance) is False
            and instance.vm_state == vm_states.ACTIVE
            and found != power_state.RUNNING
        ):
            instance.vm_state = vm_states.STOPPED

    def _keep_launched_at(self, instance: "objects.Instance") -> None:
        """Have launched_at as it was before a rescue (UPSTREAM U29)."""
        before = self.driver.launched_before_rescue(instance)
        instance.launched_at = before or instance.launched_at
        # Nova had no answer, where libvirt was gone.
        instance.power_state = self._power_state(instance)
        if instance.obj_what_changed():
            save(instance)

    def _power_state(self, instance: "objects.Instance") -> int:
        return nova_internals.power_state(self, instance)

    def _is_still(self, instance: "objects.Instance", task_state: str) -> bool:
        """Say whether an instance still is in a task, and not deleted since."""
        return self._is_there(instance) and bool(instance.task_state == task_state)

    def _is_there(self, instance: "objects.Instance") -> bool:
        """Read an instance anew; say whether it is there still."""
        try:
            instance.refresh()
        except nova_exception.InstanceNotFound:
            return False
        return True
