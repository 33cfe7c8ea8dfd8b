# SPDX-License-Identifier: Apache-2.0
"""The world of the model: one server, and all that can happen to it."""

import contextlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import oslo_messaging
from nova import exception as nova_exception
from nova import objects
from nova.api.openstack import common
from nova.tests.functional.libvirt import base as libvirt_base

from stable_rescue.compute.states import FAILED
from stable_rescue.compute.watch import Watch
from stable_rescue.domain import recognize
from stable_rescue.domain.document import Domain
from tests.faults.engine import Fault, Injection
from tests.faults.places import Place
from tests.functional.faults.base import ATTRIBUTES
from tests.functional.faults.strikes import FAULTS, Killed
from tests.functional.model.host import RESCUE_TIMEOUT, Host
from tests.functional.model.libvirt import (
    ChangesFixture,
    DevicesFixture,
    DomainIdFixture,
)
from tests.functional.model.messages import Fate, Messages
from tests.functional.model.outcomes import NOVA
from tests.functional.model.requests import TAP, Requests
from tests.functional.model.snapshot import Snapshot
from tests.functional.volumes import VOLUMES

#: Longer than [stable_rescue] stalled_after.
LONG = 200


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


class WorldTestBase(Requests, Host):
    """A compute host whose server, databases and files can be restored at once.

    ``is_damaged`` is True if a fault has struck while Nova built the definition anew.
    The guest may then have no definition, although Nova may call the server ACTIVE: its
    hard reboot sets no ERROR if libvirt is lost.
    """

    volumes = VOLUMES[:1]

    def setUp(self) -> None:
        super().setUp()
        self.messages = self.useFixture(
            Messages(self._manager_of, self.conductor.manager.compute_task_mgr)
        )
        self.flags(
            resume_guests_state_on_host_boot=True,
            rescue_timeout=int(RESCUE_TIMEOUT.total_seconds()),
        )
        self.flags(stalled_after=120, group="stable_rescue")
        self.flags(wait_soft_reboot_seconds=1, group="libvirt")
        self.images = {
            "rescue": self.image,
            "stock rescue": self.create_rescue_image(),
        }
        # A manager that was replaced must not hear of the guest.
        self.libvirt_connection()._event_callbacks.clear()
        self.useFixture(DomainIdFixture())
        self.useFixture(
            DevicesFixture(lambda event: self.driver.emit_event(event), TAP)
        )
        self.changes = self.useFixture(ChangesFixture())
        #: How many faults have struck.
        self.struck = 0
        # Now that volumes have serials.
        self.note_original()
        self._original = self.before
        self.snapshot = self.take_snapshot()

    def take_snapshot(self) -> Snapshot:
        """Return a snapshot of the present state, which `begin` can restore."""
        snapshot = Snapshot(
            self.libvirt_connection(),
            self.cinder,
            self.neutron,
            [Path(libvirt_base.CONF.instances_path), self.storage.folder],
        )
        self.addCleanup(snapshot.close)
        return snapshot

    def _manager_of(self, host: str) -> Any:
        return self.manager if host in self.computes else None

    def _call_in_this_thread(self, name: str) -> None:
        """Do nothing: Messages delivers every request in this thread."""

    def begin(self) -> None:
        """Restore the snapshot: a new server, and a nova-compute that runs."""
        if self.messages.is_down or self.is_switched():
            if self.is_switched():
                self.switch_driver()
            self.restart()
        self.messages.begin()
        self.injection.disarm()
        self.snapshot.restore()
        self.storage.events.clear()
        self.notifier.reset()
        self.now = 0.0
        self.before = self._original
        self.is_damaged = self.was_stopped_in_error = False
        self.marks = {"locked": False, "metadata": {}}
        if self.is_stable():
            self.manager._guarded.clear()
            self.manager._recovering.clear()
            self.manager._unrecovered.clear()
            self.manager._watch = Watch(lambda: self.now)
            self.driver._prepared.clear()

    def restart(self) -> None:
        """Start nova-compute again; what was late arrives afterwards."""
        self.messages.is_down = False
        self.messages.killed = None
        nodes = self.manager.rt.compute_nodes
        super().restart()
        # Looking for them takes long.
        self.manager.rt.compute_nodes.update(nodes)
        if self.is_stable():
            self.manager._watch = Watch(lambda: self.now)

    def is_switched(self) -> bool:
        """Return True if the host has another driver than the test."""
        return self.compute_driver != type(self).compute_driver

    def comparable(self, definition: str) -> str:
        """Leave out what a boot of the host changes: the devices' names."""
        return re.sub(r"/boot\d+/", "/boot/", definition)

    def lacks_definition(self) -> bool:
        """Return True if a fault has left the guest without a definition."""
        return self.is_damaged and not self.libvirt_connection()._vms

    def is_stopped_in_rescue(self) -> bool:
        """Return True if a rescued server was set to ERROR, and then stopped.

        Nova powers it off as it is. The next start puts the original definition back.
        """
        return self.was_stopped_in_error and recognize.is_rescue(
            Domain.parse(self.next_definition())
        )

    def expect_new_definition(self) -> None:
        """Expect that Nova builds the definition, with the volumes in any order."""
        if len(self.connections()) > 1:
            self.before = None

    def reboot_host(self) -> None:
        super().reboot_host()
        self.expect_new_definition()

    def find(self, attributes: Sequence[str] = ()) -> objects.Instance | None:
        """Return the instance, or None if it is deleted.

        :param attributes: what is loaded at once, because that takes long
        """
        try:
            return objects.Instance.get_by_uuid(
                self.context, self.server["id"], expected_attrs=[*attributes]
            )
        except nova_exception.InstanceNotFound:
            return None

    def status(self) -> str:
        """Return the status that the API reports: DELETED if the server is gone."""
        instance = self.find()
        if instance is None:
            return "DELETED"
        return str(common.status_from_state(instance.vm_state, instance.task_state))

    def has_failed(self) -> bool:
        """Return True if nova-compute has set the server to ERROR."""
        instance = self.find(["system_metadata"])
        return instance is not None and FAILED in instance.system_metadata

    def ask(
        self, request: Callable[..., Any], *args: Any, fate: Fate = Fate.DELIVERED
    ) -> bool:
        """Send a request to the API; return True if the API accepts it.

        :param args: follow the context and the instance
        """
        instance = self.find(ATTRIBUTES)
        if instance is None:
            return False
        self.messages.fate = fate
        self.messages.killed = self.messages.error = None
        try:
            request(self.context, instance, *args)
        except (nova_exception.NovaException, oslo_messaging.MessagingTimeout):
            return False
        finally:
            self.messages.fate = Fate.DELIVERED
            self.notice_kill()
        return True

    def notice_kill(self) -> None:
        """Let nova-compute be down if it was killed."""
        if self.messages.killed is not None:
            self.messages.is_down = True

    def disturb(
        self, name: str, interference: Interference | None, action: Callable[[], Any]
    ) -> tuple[Any, bool]:
        """Do something while a fault strikes; return the result, and if it struck.

        :param name: what is done
        """
        if interference is None:
            return action(), False
        fault = FAULTS[interference.fault]()
        injection = AtPlace(fault, interference.place)
        self.injection.observe_with(injection)
        observed = self.changes.observed if name in NOVA else contextlib.nullcontext
        try:
            with observed():
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
