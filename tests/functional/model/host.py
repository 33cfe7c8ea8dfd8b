# SPDX-License-Identifier: Apache-2.0
"""What happens to the host of a server, and what nova-compute does on its own."""

import datetime
import time
from unittest import mock

from nova import objects
from nova.compute import power_state, vm_states
from nova.objects import fields
from oslo_utils import timeutils

from stable_rescue import activation
from stable_rescue.compute.stalled import StalledRescueMixin
from tests.functional.faults.base import FaultTestBase
from tests.functional.model.messages import Messages
from tests.functional.volumes import VolumesTestBase

#: The host of an evacuated server; it is not part of the test.
OTHER_HOST = "compute2"
STOCK_DRIVER = "libvirt.LibvirtDriver"
RESCUE_TIMEOUT = datetime.timedelta(hours=1)


class Host(FaultTestBase, VolumesTestBase):
    """The events of the model, for a test case with one server.

    ``now`` is the time in seconds by which nova-compute judges what has stalled.
    """

    now: float
    messages: Messages

    def is_stable(self) -> bool:
        """Return True if nova-compute runs with stable rescue."""
        return isinstance(self.manager, StalledRescueMixin)

    def reboot_host(self) -> None:
        """Stop the guest and disconnect its volumes, without Nova."""
        self.messages.is_down = True
        for domain in self.libvirt_connection()._vms.values():
            if domain.isActive():
                domain.destroy()
        self.storage.reboot()

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and nova-compute look for stalled rescues."""
        if self.messages.is_down or not self.is_stable():
            return
        for _ in range(3):
            self.now += seconds / 2
            self.manager._recover_stalled_rescues(self.context)
            deadline = time.monotonic() + 60
            for recovery in self.manager._recovering.values():
                recovery.result(deadline - time.monotonic())

    def synchronize_power_state(self) -> None:
        """Let Nova compare the guest's power state with its database."""
        instance = self.find()
        if instance is not None and instance.host == self.manager.host:
            self.manager._query_driver_power_state_and_sync(self.context, instance)

    def end_overdue_rescue(self) -> None:
        """Let nova-compute end the rescue because it has lasted too long."""
        now = timeutils.utcnow
        with mock.patch.object(
            timeutils,
            "utcnow",
            lambda with_timezone=False: now(with_timezone) + 2 * RESCUE_TIMEOUT,
        ):
            self.manager._poll_rescued_instances(self.context)

    def switch_driver(self) -> None:
        """Configure Nova's driver instead of StableRescueDriver, or the other way."""
        is_stable = self.compute_driver == activation.COMPUTE_DRIVER
        self.compute_driver = STOCK_DRIVER if is_stable else activation.COMPUTE_DRIVER
        self.flags(compute_driver=self.compute_driver)

    def evacuate(self) -> bool:
        """Move the server to another host, as Nova does while this one is down.

        :returns: False if the API refuses that
        """
        instance = self.instance()
        if instance.task_state is not None or instance.vm_state not in (
            vm_states.ACTIVE,
            vm_states.STOPPED,
            vm_states.ERROR,
        ):
            return False
        objects.Migration(
            self.context,
            instance_uuid=instance.uuid,
            source_compute=instance.host,
            source_node=instance.node,
            dest_compute=OTHER_HOST,
            status="done",
            migration_type=fields.MigrationType.EVACUATION,
        ).create()
        instance.host = OTHER_HOST
        instance.vm_state, instance.power_state = vm_states.ACTIVE, power_state.RUNNING
        instance.save()
        return True
