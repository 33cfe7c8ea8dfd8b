# SPDX-License-Identifier: Apache-2.0
"""A row of the fault matrix: a fault strikes at each point of an action.

Nova is real, libvirt is Nova's fixture. A kill is modelled: from its point on, no step
is done any more, clean-up included, and nova-compute is started again.
"""

from typing import Any, ClassVar

import fixtures
from nova import objects
from nova.compute import vm_states

from tests import tally
from tests.functional.faults.injection import (
    FAULTS,
    Injection,
    Killed,
)
from tests.functional.server import ServerTestBase
from tests.tally import Place, step_of


class FaultTestBase(ServerTestBase):
    """A server, and faults for what is done with it."""

    def setUp(self) -> None:
        super().setUp()
        self.killed: Killed | None = None
        self.error: Exception | None = None
        for name in ("rescue_instance", "unrescue_instance"):
            self._call_at_once(name)
        self.injection = self.useFixture(Injection())

    def _call_at_once(self, name: str) -> None:
        """Have the API call the manager in this thread, for a kill to end it."""

        def call(_rpc: Any, context: Any, instance: Any, **args: Any) -> None:
            sent = objects.Instance.obj_from_primitive(
                instance.obj_to_primitive(), context
            )
            manager = self.computes["compute1"].manager
            try:
                getattr(manager, name)(context, instance=sent, **args)
            except Killed as killed:
                self.killed = killed
            except Exception as error:  # noqa: BLE001 - a cast tells nobody
                self.error = error

        self.useFixture(
            fixtures.MonkeyPatch(f"nova.compute.rpcapi.ComputeAPI.{name}", call)
        )

    def restart(self) -> None:
        """Start nova-compute again, as far as it looks at instances.

        A new manager and a new driver; the service around them takes long to end.
        """
        service = self.computes["compute1"]
        connection = self.libvirt_connection()
        node = service.driver._host.get_node_uuid()
        service.manager = type(service.manager)(host=service.host)
        service.driver = service.manager.driver
        # As in Nova's start_compute.
        service.driver._host.get_connection = lambda: connection
        service.driver._host.get_node_uuid = lambda: node
        service.manager.init_host(service.service_ref)

    def observed(self) -> dict[str, Any]:
        observed = super().observed()
        for name in ("live", "next"):
            observed[name] = self.written(observed[name])
        return observed

    def written(self, definition: str) -> str:
        """Return what has to stay of a definition: the letter of it."""
        return definition

    def act(self, action: str) -> None:
        """Ask for an action; what became of it is in `killed` and `error`."""
        self.killed = self.error = None
        body: dict[str, Any] = {action: None}
        if action == "rescue":
            body = {"rescue": {"rescue_image_ref": self.image}}
        self.api.post_server_action(self.server["id"], body)

    def do(self, action: str, status: str) -> None:
        """Do an action without a fault."""
        self.act(action)
        self.assertIsNone(self.error)
        self.assert_status(status)


class Scenario(FaultTestBase):
    """An action on a server; the fault strikes at each point that it reaches."""

    action: str
    running: bool
    #: What is special about the server or its host; it tells the row from others.
    situation: ClassVar[str] = ""
    #: The steps that no other row reaches.
    own_steps: ClassVar[frozenset[str]] = frozenset()
    #: The other steps at which faults strike, too; None: at all that are reached. A
    #: row beside the four of test_matrix has those where its situation tells.
    other_steps: ClassVar[frozenset[str] | None] = None
    #: Where the action fails in any case: the points are then those of its undoing.
    fails: ClassVar[Place | None] = None

    def setUp(self) -> None:
        super().setUp()
        self.status = "ACTIVE" if self.running else "SHUTOFF"
        if not self.running:
            self._stop_server(self.server)
            self.note_original()
        self.places = self._places()

    def _places(self) -> list[Place]:
        """Return each place to strike at, as it is reached where nothing else fails."""
        self.get_ready()
        self.injection.arm(fails=self.fails)
        self.perform()
        reached = self.injection.disarm()
        self.assertIsNone(self.killed)
        self.assertEqual(self.fails is None, self.error is None)
        self.be_itself()
        if self.fails is not None:
            reached = reached[reached.index(self.fails) + 1 :]
        steps = {step_of(place) for place in reached}
        self.assertLessEqual(self.own_steps, steps)
        if self.other_steps is None:
            return reached
        self.assertLessEqual(self.other_steps, steps)
        return [p for p in reached if step_of(p) in self.own_steps | self.other_steps]

    def get_ready(self) -> None:
        """Bring the server to where the action begins."""
        if self.action == "unrescue":
            self.do("rescue", "RESCUE")

    def perform(self) -> None:
        """Do what the fault is to strike in."""
        self.act(self.action)

    def be_itself(self) -> None:
        """End the rescue, if there is one; the server has to be as it was."""
        if self.instance().vm_state == vm_states.RESCUED:
            self.do("unrescue", self.status)
        self.assert_restored(self.running)

    def assert_rescue_runs(self) -> None:
        super().assert_rescue_runs()
        self.assert_original_saved()

    def assert_original_saved(self) -> None:
        saved = (self.folder(self.server) / "unrescue.xml").read_text()
        self.assertEqual(self.written(self.original), self.written(saved))

    def strike(self, fault: str, place: Place) -> None:
        """Try one cell of the matrix.

        :raises AssertionError: where the server is between, or something is left
        """
        self.get_ready()
        kind = FAULTS[fault]()
        self.injection.arm(kind, place, self.fails)
        self.perform()
        self.injection.disarm()
        self.assertTrue(kind.struck)
        if fault.endswith("exception"):
            # One step that fails once: nobody has to come and help.
            self.assertNotEqual(vm_states.ERROR, self.instance().vm_state)
        self.restart()
        self.assert_at_rest(self.running)
        self.be_itself()

    def strike_everywhere(self, *faults: str) -> None:
        lost = []
        last = self.places[-1]
        for fault in faults:
            for place in self.places:
                if not FAULTS[fault].wants(place[0], place == last):
                    continue
                try:
                    self.strike(fault, place)
                except Exception as exc:  # noqa: BLE001 - all cells are tried
                    lost.append(f"{fault} {place}: {exc}")
                    tally.count(self.row(), fault, place, recovered=False)
                    break  # the server is not as the next cell needs it
                tally.count(self.row(), fault, place, recovered=True)
        self.assertEqual([], lost)

    def row(self) -> str:
        """Return what the row is called."""
        guest = "running" if self.running else "stopped"
        situation = self.situation and f", {self.situation}"
        return f"{self.action}, guest {guest}{situation}"


class CellsOfAllFaults:
    """One test for all faults: most time of a short row goes into its server."""

    def test_faults(self) -> None:
        self.strike_everywhere(*FAULTS)
