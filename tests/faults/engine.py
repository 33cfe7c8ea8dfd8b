# SPDX-License-Identifier: Apache-2.0
"""The fault matrix: every place of an action, and every fault.

A fault strikes at a place of a rescue or an unrescue, and nova-compute starts again.
Then the server must be recovered, and a user must be able to restore it.
"""

import abc
from collections import Counter
from collections.abc import Mapping
from typing import ClassVar

from nova.compute import vm_states

from tests import tally
from tests.faults.assertions import RecoveryAssertions
from tests.faults.places import Place


class Fault(abc.ABC):
    """One kind of fault; an instance strikes once."""

    #: True if nova-compute must cope with the fault without being started again.
    survivable: ClassVar[bool] = False

    @classmethod
    def is_tried_at(cls, place: Place, last: bool) -> bool:
        """Return True if the fault is tried at a place.

        "After" a step is also "before" the next one, so only the last "after" is tried.
        """
        return not place[0].startswith("after ") or last

    @abc.abstractmethod
    def strike(self, point: str) -> None:
        """Cause the fault at its place."""

    def after_strike(self, point: str) -> None:  # noqa: B027 - most faults strike once
        """Cause what follows from the fault at each later point."""


class StepFails(Fault):
    """A step fails before it has changed anything; everything else works."""

    survivable = True

    def strike(self, point: str) -> None:
        raise RuntimeError(f"fault {point}")


class StepFailsLate(StepFails):
    """A step fails after it has done its work, for example if its answer is lost."""

    @classmethod
    def is_tried_at(cls, place: Place, last: bool) -> bool:
        return place[0].startswith("after ")


class Injection:
    """Observes the points that an action reaches, and makes faults strike.

    `observe` replaces stable_rescue.steps.observe in the process of nova-compute.
    """

    def __init__(self, faults: Mapping[Place, Fault] | None = None) -> None:
        self.reached: list[Place] = []
        self.struck: list[Fault] = []
        self._faults = dict(faults or {})
        self._counts: Counter[str] = Counter()

    def observe(self, point: str) -> None:
        """Note that a point is reached, and make a fault strike there."""
        self._counts[point] += 1
        place = point, self._counts[point]
        self.note(place)
        for fault in self.struck:
            fault.after_strike(point)
        if fault := self._faults.get(place):
            self.struck.append(fault)
            fault.strike(point)

    def note(self, place: Place) -> None:
        """Note a place that is reached."""
        self.reached.append(place)


class MatrixRow(RecoveryAssertions):
    """One row of the fault matrix, for a test case that has the server.

    The test case adds how an action is done and how nova-compute is started again.
    """

    #: "rescue" or "unrescue".
    action: ClassVar[str]
    #: Whether the guest is on before the rescue.
    running: ClassVar[bool]
    #: What is special about the server or its host, for the name of the row.
    situation: ClassVar[str] = ""
    #: The kinds of faults by the name that the table shows.
    faults: ClassVar[Mapping[str, type[Fault]]]

    def row(self) -> str:
        """Return the name that the table shows for the row."""
        guest = "running" if self.running else "stopped"
        situation = self.situation and f", {self.situation}"
        return f"{self.action}, guest {guest}{situation}"

    def do(self, action: str) -> None:
        """Do an action without a fault and assert that it succeeds."""
        raise NotImplementedError

    def perform(self, faults: Mapping[Place, Fault]) -> list[Place]:
        """Do the row's action while faults strike; return the places reached."""
        raise NotImplementedError

    def assert_undisturbed(self) -> None:
        """Assert that the action just performed ended as it does without a fault."""
        raise NotImplementedError

    def restart(self) -> None:
        """Start nova-compute again."""
        raise NotImplementedError

    def new_fault(self, name: str) -> Fault:
        """Return a new fault of a kind."""
        return self.faults[name]()

    def get_ready(self) -> None:
        """Bring the server into the state that the action starts from."""
        if self.action == "unrescue":
            self.do("rescue")

    def begin(self) -> None:
        """Bring the server into the state that a cell begins with."""
        self.get_ready()

    def end(self) -> None:
        """Assert that the server is recovered, and unrescue it if it is rescued."""
        if self.assert_recovered(self.running):
            self.do("unrescue")
            self.assert_restored(self.running)

    def places(self) -> list[Place]:
        """Return the places that the action reaches if no fault strikes, in order."""
        self.begin()
        reached = self.perform({})
        self.assert_undisturbed()
        self.end()
        return reached

    def strike(self, name: str, place: Place) -> None:
        """Try one cell of the matrix.

        :raises AssertionError: the server is not recovered, or cannot be restored
        """
        self.begin()
        fault = self.new_fault(name)
        reached = self.perform({place: fault})
        self.assertIn(place, reached)
        if fault.survivable:
            self.assertNotEqual(vm_states.ERROR, self.nova_state().vm_state)
        self.restart()
        self.end()

    def strike_everywhere(self, *names: str) -> None:
        """Assert that the server is recovered from faults, all if none is named.

        Each fault is tried at every place. If a cell fails, the rest of its fault is
        skipped, because the next cell needs a server that is restored.
        """
        places = self.places()
        lost = []
        for name in names or self.faults:
            for place in places:
                if not self.faults[name].is_tried_at(place, place == places[-1]):
                    continue
                try:
                    self.strike(name, place)
                except Exception as error:  # noqa: BLE001 - try the other faults
                    lost.append(f"{name} {place}: {error}")
                    tally.count(self.row(), name, place, recovered=False)
                    break
                tally.count(self.row(), name, place, recovered=True)
        self.assertEqual([], lost)


class EveryFault:
    """One test for all faults of a row, because setUp takes most of a short row."""

    def test_server_after_each_fault_is_recovered(self) -> None:
        self.strike_everywhere()
