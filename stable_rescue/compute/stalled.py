# SPDX-License-Identifier: Apache-2.0
"""Detect and recover stalled rescues while nova-compute runs.

A rescue stalls if its request is lost with the message queue, if the database is gone
when the result should be saved, or if libvirt is gone during the rollback. None of
these restarts nova-compute, which would recover the server (``recovery``). Users
cannot help themselves: the API answers 409 as long as the instance has a task state.
"""

import functools
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

from nova import conf as nova_conf
from nova import context as nova_context
from nova import objects
from nova.compute import vm_states
from oslo_log import log as logging

from stable_rescue import activity
from stable_rescue.compute import states
from stable_rescue.compute.instance_recovery import ManagerBase
from stable_rescue.compute.watch import Watch
from stable_rescue.outcome import Answer

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)


class StalledRescueMixin(ManagerBase):
    """Recovers instances whose rescue or unrescue nobody works on any more."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._watch = Watch()
        # The recoveries that are queued or running, of stalled rescues and of those
        # that an operator names, by instance UUID. An instance has one at a time.
        self._recovering: dict[str, Future[Answer]] = {}
        activity.add_to_report()

    def rescue_instance(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Rescue an instance; it is not stalled meanwhile."""
        with (
            self._watch.working_on(instance.uuid),
            activity.activity(instance.uuid, "rescue"),
        ):
            super().rescue_instance(context, instance, *args, **kwargs)
            self._unrecovered.discard(instance.uuid)

    def unrescue_instance(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """End an instance's rescue; it is not stalled meanwhile."""
        with (
            self._watch.working_on(instance.uuid),
            activity.activity(instance.uuid, "unrescue"),
        ):
            super().unrescue_instance(context, instance, *args, **kwargs)
            self._unrecovered.discard(instance.uuid)

    def _recover_stalled(self, context: nova_context.RequestContext) -> None:
        """Recover what has been stalled for longer than ``stalled_after``.

        The recoveries run in other threads, because one that hangs must not stop
        Nova's periodic tasks. If the lost request arrives after all, the task has
        ended, and the request is dropped.
        """
        seconds = CONF.stable_rescue.stalled_after
        if not seconds or not self._watch.is_due(seconds / 2):
            return
        self._recovering = {
            uuid: future
            for uuid, future in self._recovering.items()
            if not future.done()
        }
        candidates = {
            instance.uuid: instance
            for instance in self._candidates(context)
            if instance.uuid not in self._recovering
        }
        for uuid in self._watch.stalled(candidates, seconds):
            instance = candidates[uuid]
            LOG.warning(
                "Recovering a stalled rescue: nobody has worked on it for %d seconds "
                "(vm_state %s, task_state %s)",
                seconds,
                instance.vm_state,
                instance.task_state,
                instance=instance,
            )
            self._recovering[uuid] = self._workers.submit(
                functools.partial(self._recover_one, context, instance, wait=False)
            )

    def _candidates(
        self, context: nova_context.RequestContext
    ) -> Iterator["objects.Instance"]:
        """Yield the instances that may have stalled.

        These are rescuing or unrescuing, or have a record although they are neither in
        a task nor rescued: the record is outdated, or an earlier recovery failed. Of
        those that are rescued, only a failed recovery is repeated: a guest that its
        user has powered off stays off.
        """
        here = {"host": self.host, "deleted": False}
        yield from objects.InstanceList.get_by_filters(
            context,
            {**here, "task_state": list(states.INTERRUPTED)},
            expected_attrs=states.EXPECTED_ATTRS,
        )
        unrecovered = frozenset(self._unrecovered)
        recorded = {*self.driver.instances_with_rescue_record(), *unrecovered}
        if not recorded:
            return
        for instance in objects.InstanceList.get_by_filters(
            context,
            {**here, "uuid": sorted(recorded)},
            expected_attrs=states.EXPECTED_ATTRS,
        ):
            # A server in rescue needs its record. If an operator has set a server to
            # ERROR, recovery must not change that.
            if instance.task_state is None and (
                instance.vm_state not in (vm_states.RESCUED, vm_states.ERROR)
                or (
                    instance.vm_state == vm_states.RESCUED
                    and instance.uuid in unrecovered
                )
                or states.is_failed(instance)
            ):
                yield instance

    def _obstacle(self, instance: "objects.Instance") -> Answer | None:
        """Read an instance again; return None if this host may recover it.

        A request may have arrived since the instance was chosen.
        """
        if self._watch.is_worked_on(instance.uuid):
            return Answer.BUSY
        obstacle: Answer | None = super()._obstacle(instance)
        return obstacle
