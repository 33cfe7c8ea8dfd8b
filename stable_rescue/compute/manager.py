# SPDX-License-Identifier: Apache-2.0
"""The compute manager: everything is checked and fetched before power-off."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

from nova import context as nova_context
from nova import objects, utils
from nova.compute import manager, task_states, vm_states
from oslo_log import log as logging

from stable_rescue import exception, nova_internals, steps
from stable_rescue.compute import block_device, image
from stable_rescue.storage.record import Rest
from stable_rescue.virt.refusal import refusing

LOG = logging.getLogger(__name__)


@steps.changes("save the instance")
def _save(instance: "objects.Instance") -> None:
    instance.save()


class StableRescueMixin:
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
        prepared = self._prepare_rescue(
            context, instance, rescue_image_ref, rescue_password
        )
        with self._guard(context, instance, prepared):
            super().rescue_instance(
                context, instance, rescue_password, rescue_image_ref, clean_shutdown
            )

    def unrescue_instance(
        self, context: nova_context.RequestContext, instance: "objects.Instance"
    ) -> None:
        """End an instance's rescue.

        :raises Exception: what stood in the way; the server is then still rescued
        """
        ran = self.driver.ran_before_rescue(instance)
        with self._guard(context, instance, ran is not None):
            super().unrescue_instance(context, instance)
        if ran is False and instance.vm_state == vm_states.ACTIVE:
            # So Nova has just called it (UPSTREAM U18).
            instance.vm_state = vm_states.STOPPED
            _save(instance)

    @contextlib.contextmanager
    def _guard(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        ours: bool,
    ) -> Iterator[None]:
        if ours:
            self._guarded[instance.uuid] = context.elevated()
        try:
            yield
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
            LOG.exception(
                "The server is neither itself nor rescued. Its record is kept: "
                "restart nova-compute on this host to finish it",
                instance=instance,
            )
            super()._set_instance_obj_error_state(instance, clean_task_state)

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
        rest = self.driver.settle_rescue(context, instance, finish)
        if rest is Rest.RESCUED:
            instance.vm_state = vm_states.RESCUED
        elif rest is Rest.ITSELF and (
            instance.vm_state == vm_states.RESCUED
            # A rescue that could not be undone by the process before this one.
            or (finish and instance.vm_state == vm_states.ERROR)
        ):
            instance.vm_state = vm_states.STOPPED if ran is False else vm_states.ACTIVE
        instance.power_state = nova_internals.power_state(self, instance)
        _save(instance)

    # Before Nova looks at the instance: it would take a rescue for a lost guest.
    def _init_instance(
        self, context: nova_context.RequestContext, instance: "objects.Instance"
    ) -> None:
        """Finish or undo what an earlier process left (UPSTREAM U24)."""
        if instance.host == self.host:
            try:
                self._recover(context, instance)
            except Exception:
                LOG.exception(
                    "A rescue that was cut short could not be settled; the next "
                    "start of nova-compute tries again",
                    instance=instance,
                )
        super()._init_instance(context, instance)

    def _recover(
        self, context: nova_context.RequestContext, instance: "objects.Instance"
    ) -> None:
        cut_short = instance.task_state in (
            task_states.RESCUING,
            task_states.UNRESCUING,
        )
        left = self.driver.ran_before_rescue(instance) is not None
        if cut_short or (left and instance.vm_state == vm_states.ERROR):
            LOG.info("A rescue was cut short; settling it", instance=instance)
            instance.task_state = None
            self._settle(context, instance, finish=True)
        elif left and instance.vm_state != vm_states.RESCUED:
            # It was brought back since, perhaps in another way: leave the guest be.
            self.driver.sweep_rescue(context, instance)

    # The same decorators as on Nova's rescue_instance; users see the event
    # compute__prepare_rescue (`openstack server event show`).
    @manager.wrap_exception()
    @manager.reverts_task_state
    @manager.wrap_instance_event(prefix="compute")
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
        return self.driver.prepare_rescue(
            elevated,
            instance,
            image_ref,
            rescue_password,
            functools.partial(block_device.rebuild, self, elevated, instance),
        )


class ComputeManager(StableRescueMixin, manager.ComputeManager):
    """Nova's compute manager with our rescue."""
