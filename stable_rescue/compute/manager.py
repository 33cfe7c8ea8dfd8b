# SPDX-License-Identifier: Apache-2.0
"""The compute manager: everything is checked and fetched before power-off."""

from nova import context as nova_context
from nova import objects
from nova.compute import manager
from oslo_log import log as logging
from oslo_utils import excutils

from stable_rescue import nova_internals
from stable_rescue.virt.refusal import refusing

LOG = logging.getLogger(__name__)


class StableRescueMixin:
    """Prepares a rescue before Nova's manager powers the guest off (UPSTREAM U7)."""

    def rescue_instance(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        rescue_password: str,
        rescue_image_ref: str | None,
        clean_shutdown: bool,
    ) -> None:
        """Rescue an instance on this host.

        :raises nova.exception.InstanceNotRescuable: where it cannot be done; before
            power-off the server stays as it was, its task state cleared
        """
        self._prepare_rescue(context, instance, rescue_image_ref)
        try:
            super().rescue_instance(
                context, instance, rescue_password, rescue_image_ref, clean_shutdown
            )
        except Exception:  # noqa: BLE001 - it is raised again
            with excutils.save_and_reraise_exception(logger=LOG):
                # What has begun is no longer prepared, and stays.
                self.driver.discard_rescue(instance)

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
        rescue_image_ref: str | None,
    ) -> None:
        with refusing(instance):
            image_ref = nova_internals.rescue_image_ref(
                self, context, instance, rescue_image_ref
            )
        self.driver.prepare_rescue(context.elevated(), instance, image_ref)


class ComputeManager(StableRescueMixin, manager.ComputeManager):
    """Nova's compute manager with our rescue."""
