# SPDX-License-Identifier: Apache-2.0
"""Rescues that nobody is at work on any more, while nova-compute goes on.

A request is lost with the message queue that held it, the end of a rescue with the
database that was to be told, a rollback with libvirt. None of them starts nova-compute
again, which would settle such a server (``recovery``), and users cannot: the API
answers 409 as long as there is a task.
"""

from collections.abc import Iterator
from typing import Any

from nova import conf as nova_conf
from nova import context as nova_context
from nova import objects
from nova.compute import vm_states
from oslo_log import log as logging

from stable_rescue.compute import recovery
from stable_rescue.compute.watch import Watch

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)


class AttendedMixin:
    """Settles what a rescue has left behind, with nobody at work on it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._watch = Watch()

    def rescue_instance(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Rescue an instance, being at work on it."""
        with self._watch.at_work(instance.uuid):
            super().rescue_instance(context, instance, *args, **kwargs)

    def unrescue_instance(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """End an instance's rescue, being at work on it."""
        with self._watch.at_work(instance.uuid):
            super().unrescue_instance(context, instance, *args, **kwargs)

    def _settle_abandoned(self, context: nova_context.RequestContext) -> None:
        """Settle what has been left for longer than stalled_after.

        A request that comes after all finds that its task has ended, and is dropped.
        """
        after = CONF.stable_rescue.stalled_after
        if not after or not self._watch.is_due(after / 2):
            return
        found = {instance.uuid: instance for instance in self._unsettled(context)}
        for uuid in self._watch.abandoned(found, after):
            instance = found[uuid]
            LOG.warning(
                "For %d seconds nobody has been at work on it: %s, task state %s",
                after,
                instance.vm_state,
                instance.task_state,
                instance=instance,
            )
            self._recover_one(context, instance)

    def _unsettled(
        self, context: nova_context.RequestContext
    ) -> Iterator["objects.Instance"]:
        """Yield those in a rescue's task, and those out of it with a record of one."""
        here = {"host": self.host, "deleted": False}
        yield from objects.InstanceList.get_by_filters(
            context,
            {**here, "task_state": list(recovery.CUT_SHORT)},
            expected_attrs=recovery.EXPECTED,
        )
        recorded = self.driver.instances_with_rescue_record()
        if not recorded:
            return
        for instance in objects.InstanceList.get_by_filters(
            context,
            {**here, "uuid": recorded},
            expected_attrs=recovery.EXPECTED,
        ):
            # That of a server in rescue is to be there.
            if instance.task_state is None and instance.vm_state != vm_states.RESCUED:
                yield instance
