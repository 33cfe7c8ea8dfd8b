# SPDX-License-Identifier: Apache-2.0
"""Recovers instances whose rescue was interrupted, when nova-compute starts."""

import functools
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from nova import conf as nova_conf
from nova import context as nova_context
from nova import objects
from nova.compute import power_state, vm_states
from oslo_log import log as logging

from stable_rescue.compute.instance_recovery import InstanceRecoveryMixin
from stable_rescue.compute.states import (
    EXPECTED_ATTRS,
    INTERRUPTED,
    is_failed,
    may_be_queued,
)
from stable_rescue.outcome import Answer
from stable_rescue.workers import Workers

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)


class RecoveryMixin(InstanceRecoveryMixin):
    """Recovers this host's instances whose rescue was interrupted (U24)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # By instance UUID; None until the first instance of a start is initialized.
        self._recoveries: dict[str, Future[Answer]] | None = {}
        self._evacuated: frozenset[str] = frozenset()
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
    ) -> dict[str, "Future[Answer]"]:
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
