# SPDX-License-Identifier: Apache-2.0
"""The host on which two operations race, and what must hold of its server."""

import contextlib
from collections.abc import Callable
from concurrent import futures
from typing import Any

import fixtures
from nova.compute import vm_states

from tests.functional.faults.strikes import Killed
from tests.functional.model.invariants import check
from tests.functional.model.outcomes import OUTCOMES
from tests.functional.model.world import LONG, WorldTestBase
from tests.functional.races.firsts import First
from tests.functional.races.seconds import CHANGE_DEVICES, ELSEWHERE
from tests.functional.races.turns import TIMEOUT


class HostTestBase(WorldTestBase):
    """A server with a volume and a port, in a state that is restored for each race."""

    def setUp(self) -> None:
        super().setUp()
        # The guest does not answer the request to detach a device.
        self.flags(device_detach_timeout=1, group="libvirt")
        #: A port that no server has.
        self.port = self.neutron.create_port({"port": self.neutron.port_2})["port"]
        self._spawned: list[futures.Future[Any]] = []
        # Nova 34 has it; the tests for older releases only import this module.
        from nova import thread_pool_factory

        spawn_on = thread_pool_factory.spawn_on

        def spawn_and_note(*args: Any, **options: Any) -> Any:
            self._spawned.append(spawn_on(*args, **options))
            return self._spawned[-1]

        self.useFixture(
            fixtures.MonkeyPatch("nova.thread_pool_factory.spawn_on", spawn_and_note)
        )
        attach = self.compute_api.attach_interface
        self.ask(attach, None, self.neutron.port_1["id"], None)
        self._new_server = self.take_snapshot()
        self.note_original()
        self._original = self.before

    def prepare(self, prepare: Callable[[Any], Any]) -> None:
        """Make the state that each race begins with, from the one of a new server."""
        self.snapshot = self._new_server
        self.begin()
        prepare(self)
        self.snapshot = self.take_snapshot()

    def do(self, act: Callable[[Any], Any]) -> Any:
        """Do something; return its result when all threads of Nova's pools are done."""
        result = act(self)
        while self._spawned:
            futures.wait([self._spawned.pop()], TIMEOUT)
        return result

    def do_until_killed(self, act: Callable[[Any], Any]) -> None:
        """Do something; nova-compute may be killed meanwhile."""
        with contextlib.suppress(Killed):
            self.do(act)

    def guest(self) -> Any:
        """Return what this host must not change of a server that runs elsewhere."""
        return self.live_definition(), self.domain().isActive()

    def assert_not_touched(self, guest: Any) -> None:
        """Assert that a server of another host is left alone.

        :param guest: the guest that is left on this host, or None if an operation was
            in the middle of changing it
        """
        instance = self.instance()
        self.assertEqual(
            (ELSEWHERE, vm_states.ACTIVE, None),
            (instance.host, instance.vm_state, instance.task_state),
        )
        if guest is not None:
            self.assertEqual(guest, self.guest())

    def assert_sound(self, first: First, second: str, accepted: bool) -> None:
        """Assert that the server is as if one operation had followed the other."""
        status = self.status()
        self.assertIn(status, self.expected(first, second, accepted))
        if status == "ERROR":
            # The operator's reboot repairs the server, whatever it was.
            self.assertTrue(self.ask(self.compute_api.reboot, "HARD"))
            self.pass_time(LONG)
            status = "ACTIVE"
        if accepted and first.is_recovery:
            # If a request has changed the server meanwhile, the record is left.
            self.pass_time(LONG)
        if accepted and second in CHANGE_DEVICES:
            # Compare the devices with what Nova and Cinder know, not with the earlier.
            self.before = None
        check(self, status)

    def expected(self, first: First, second: str, accepted: bool) -> set[str]:
        """Return the statuses to which the operations lead, one after the other."""
        if not accepted:
            return {first.done}
        leads_to = OUTCOMES.get(second, {})
        results = {
            leads_to.get(status, status)
            for status in (first.undone, first.done)
            if status is not None
        }
        if second == "reset to error" and first.undone == "ERROR":
            # Recovery does not notice that an operator has set its ERROR once more.
            results.add(first.done)
        return results - {"was"} | ({first.was} if "was" in results else set())
