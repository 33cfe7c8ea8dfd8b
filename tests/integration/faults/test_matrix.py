# SPDX-License-Identifier: Apache-2.0
"""Real faults at the points of a rescue and an unrescue, with a real QEMU.

The process is killed at each point; its disk runs full, its libvirt is lost, and a step
fails where libvirt has to do with it. The guests have no system to boot.
"""

from collections import Counter

import libvirt
from nova.compute import vm_states

from stable_rescue import steps
from tests import tally
from tests.integration.faults import server
from tests.integration.faults.strikes import FAULTS, LIBVIRT_STEPS, Fault
from tests.tally import Place, step_of

_STRUCK = "the fault strikes"


class MatrixTestBase(server.ServerTestBase):
    """A nova-compute that a fault strikes in an action."""

    action: str

    def get_ready(self) -> None:
        if self.action == "unrescue":
            self.act("rescue")

    def be_itself(self) -> None:
        if self.compute.database.read()["vm_state"] == vm_states.RESCUED:
            self.act("unrescue")
        self.assert_itself()

    def places(self) -> list[Place]:
        """Return the places that are reached where nothing fails."""
        self.get_ready()
        log = self.scene.folder.parent / "points.log"

        def note(point: str) -> None:
            with log.open("a") as stream:
                stream.write(f"{point}\n")

        self.act(self.action, note)
        self.be_itself()
        seen: Counter[str] = Counter()
        found = []
        for point in log.read_text().splitlines():
            seen[point] += 1
            found.append((point, seen[point]))
        log.unlink()
        last = len(found) - 1
        return [
            place
            for number, place in enumerate(found)
            # Behind a step is before the next.
            if not place[0].startswith("after ") or number == last
        ]

    def strike(self, fault: Fault, place: Place) -> None:
        """Try one cell of the matrix.

        :raises AssertionError: where the server is between, or something is left
        """
        self.get_ready()
        seen: Counter[str] = Counter()

        def observe(point: str) -> None:
            seen[point] += 1
            if (point, seen[point]) == place:
                print(_STRUCK, flush=True)
                fault.strike(point)

        code, said = self.compute.act(self.action, observe)
        fault.over()
        self.assertIn(_STRUCK, said)
        self.assertIn(fault.code, (None, code), said[-3000:])
        self.act("restart")
        self.assert_at_rest()
        self.be_itself()


class Cells:
    faults = tuple(FAULTS)

    def test_faults(self) -> None:
        row = f"{self.action}, guest {'running' if self.running else 'stopped'}"
        row += ", UEFI" if self.firmware == "uefi" else ""
        self.assertLessEqual(LIBVIRT_STEPS, {*steps.names()})
        places = self.places()
        for name in self.faults:
            fault = FAULTS[name](self.scene.folder.parent)
            for place in places:
                if fault.steps is None or step_of(place) in fault.steps:
                    self.cell(f"QEMU: {row}", name, fault, place)

    def cell(self, row: str, name: str, fault: Fault, place: Place) -> None:
        """Try a cell and count it; after one that is lost, no other can be tried."""
        try:
            self.strike(fault, place)
        except (AssertionError, libvirt.libvirtError) as exc:
            tally.count(row, name, place, recovered=False)
            self.fail(f"{name} {place}: {exc}")
        tally.count(row, name, place, recovered=True)


class RescueOfRunningTest(Cells, MatrixTestBase):
    action, running = "rescue", True


class RescueOfStoppedTest(Cells, MatrixTestBase):
    action, running = "rescue", False


class UnrescueOfRunningTest(Cells, MatrixTestBase):
    action, running = "unrescue", True


class UnrescueOfStoppedTest(Cells, MatrixTestBase):
    action, running = "unrescue", False


class RescueOfUefiTest(Cells, MatrixTestBase):
    """Of a guest that runs, its own firmware writes its variables, too."""

    action, running, firmware = "rescue", False, "uefi"
    faults = ("SIGKILL",)


class UnrescueOfUefiTest(Cells, MatrixTestBase):
    action, running, firmware = "unrescue", False, "uefi"
    faults = ("SIGKILL",)
