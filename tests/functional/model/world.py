# SPDX-License-Identifier: Apache-2.0
"""The world of the model: one server, and all that can happen to it."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import fixtures
import oslo_messaging
from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from nova.api.openstack import common
from nova.compute import api as compute_api
from nova.compute import vm_states
from nova.tests.fixtures import libvirt
from nova.tests.functional.libvirt import base as libvirt_base

from stable_rescue.compute.stalled import StalledRescueMixin
from stable_rescue.compute.watch import Watch
from tests.faults.engine import Fault, Injection
from tests.faults.places import Place
from tests.functional.faults.base import FaultTestBase
from tests.functional.faults.strikes import FAULTS, Killed
from tests.functional.model.messages import Fate, Messages
from tests.functional.model.snapshot import Snapshot
from tests.functional.volumes import VOLUMES, VolumesTestBase

#: Longer than [stable_rescue] stalled_after.
LONG = 200
#: What recovery needs of an instance, and what Nova's API loads.
ATTRIBUTES = ["flavor", "info_cache", "metadata", "numa_topology", "system_metadata"]


class Interference(NamedTuple):
    """A fault, and the number of the place at which it strikes."""

    fault: str
    place: int


class AtPlace(Injection):
    """Makes a fault strike at the place with a number, whatever its name."""

    def __init__(self, fault: Fault, number: int) -> None:
        super().__init__()
        self._fault = fault
        self._number = number

    def note(self, place: Place) -> None:
        super().note(place)
        if len(self.reached) == self._number:
            self._faults[place] = self._fault


class DomainIdFixture(fixtures.Fixture):
    """Makes Nova's libvirt fixture give a domain a new id at each start.

    Nova waits for a new id after a soft reboot.
    """

    def _setUp(self) -> None:
        create = libvirt.Domain.createWithFlags

        def create_with_id(domain: Any, flags: int) -> Any:
            domain._id = domain._connection._id_counter
            return create(domain, flags)

        self.useFixture(
            fixtures.MonkeyPatch(
                "nova.tests.fixtures.libvirt.Domain.createWithFlags", create_with_id
            )
        )


class WorldTestBase(FaultTestBase, VolumesTestBase):
    """A compute host whose server, databases and files can be restored at once."""

    volumes = VOLUMES[:1]

    def setUp(self) -> None:
        super().setUp()
        self.messages = self.useFixture(
            Messages(lambda host: self.computes[host].manager)
        )
        self.flags(resume_guests_state_on_host_boot=True)
        self.flags(stalled_after=120, group="stable_rescue")
        self.images = {
            "rescue": self.image,
            "stock rescue": self.create_rescue_image(),
        }
        # A manager that was replaced must not hear of the guest.
        self.libvirt_connection()._event_callbacks.clear()
        self.useFixture(DomainIdFixture())
        # The heartbeat in a restored database is old.
        self.useFixture(
            fixtures.MockPatch(
                "nova.servicegroup.api.API.service_is_up", return_value=True
            )
        )
        self.compute_api = compute_api.API()
        #: How many faults have struck.
        self.struck = 0
        self.snapshot = Snapshot(
            self.libvirt_connection(),
            self.cinder,
            [Path(libvirt_base.CONF.instances_path), self.storage.folder],
        )
        self.addCleanup(self.snapshot.close)

    def _call_in_this_thread(self, name: str) -> None:
        """Do nothing: Messages delivers every request in this thread."""

    def begin(self) -> None:
        """Restore the snapshot: a new server, and a nova-compute that runs."""
        if self.messages.is_down:
            self.restart()
        self.messages.begin()
        self.injection.disarm()
        self.snapshot.restore()
        self.storage.events.clear()
        self.notifier.reset()
        self.now = 0.0
        if self.is_stable():
            self.manager._guarded.clear()
            self.manager._stalled.clear()
            self.manager._unrecovered.clear()
            self.manager._watch = Watch(lambda: self.now)
            self.driver._prepared.clear()

    def restart(self) -> None:
        """Start nova-compute again; what was late arrives afterwards."""
        self.messages.is_down = False
        self.messages.killed = None
        super().restart()
        if self.is_stable():
            self.manager._watch = Watch(lambda: self.now)

    def is_stable(self) -> bool:
        """Return True if nova-compute runs with stable rescue."""
        return isinstance(self.manager, StalledRescueMixin)

    def comparable(self, definition: str) -> str:
        """Leave out what a boot of the host changes: the devices' names."""
        return re.sub(r"/boot\d+/", "/boot/", definition)

    def found(self) -> objects.Instance:
        """Return the instance as the API loads it."""
        return objects.Instance.get_by_uuid(
            self.context, self.server["id"], expected_attrs=ATTRIBUTES
        )

    def status(self) -> str:
        """Return the status that the API reports: DELETED if the server is gone."""
        try:
            instance = self.instance()
        except nova_exception.InstanceNotFound:
            return "DELETED"
        return str(common.status_from_state(instance.vm_state, instance.task_state))

    def has_task(self) -> bool:
        """Return True if the server is in a task."""
        try:
            return self.instance().task_state is not None
        except nova_exception.InstanceNotFound:
            return False

    def ask(
        self, request: Callable[..., Any], *args: Any, fate: Fate = Fate.DELIVERED
    ) -> bool:
        """Send a request to the API; return True if the API accepts it."""
        self.messages.fate = fate
        self.messages.killed = self.messages.error = None
        try:
            request(self.context, self.found(), *args)
        except (nova_exception.NovaException, oslo_messaging.MessagingTimeout):
            return False
        finally:
            self.messages.fate = Fate.DELIVERED
            self.notice_kill()
        return True

    def reset_to_error(
        self, context: nova_context.RequestContext, instance: objects.Instance
    ) -> None:
        """Set the server to ERROR, as an operator does to evacuate or inspect it."""
        instance.vm_state, instance.task_state = vm_states.ERROR, None
        instance.save(admin_state_reset=True)

    def notice_kill(self) -> None:
        """Let nova-compute be down if it was killed."""
        if self.messages.killed is not None:
            self.messages.is_down = True

    def disturb(
        self, interference: Interference | None, action: Callable[[], Any]
    ) -> tuple[Any, bool]:
        """Do something while a fault strikes; return the result, and if it struck."""
        if interference is None:
            return action(), False
        fault = FAULTS[interference.fault]()
        injection = AtPlace(fault, interference.place)
        self.injection.observe_with(injection)
        try:
            return action(), fault in injection.struck
        except Exception:
            if fault not in injection.struck:
                raise
            # nova-compute does not start without libvirt.
            self.messages.is_down = True
            return None, True
        finally:
            self.struck += fault in injection.struck
            self.injection.disarm()

    def try_to_restart(self) -> None:
        """Start nova-compute again; a fault may kill it."""
        try:
            self.restart()
        except Killed as killed:
            self.messages.killed = killed
        self.notice_kill()

    def reboot_host(self) -> None:
        """Stop the guest and disconnect its volumes, without Nova."""
        self.messages.is_down = True
        for domain in self.libvirt_connection()._vms.values():
            if domain.isActive():
                domain.destroy()
        self.storage.reboot()

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and nova-compute run its periodic tasks."""
        if self.messages.is_down or not self.is_stable():
            return
        for _ in range(3):
            self.now += seconds / 2
            self.manager._recover_stalled_rescues(self.context)
            deadline = time.monotonic() + 60
            for recovery in self.manager._stalled.values():
                recovery.result(deadline - time.monotonic())
