# SPDX-License-Identifier: Apache-2.0
"""Real faults at the places of a rescue and an unrescue, with a real QEMU.

The process is killed at every place. At the steps that need libvirt, its disk runs
full, libvirt is lost, or the step fails.
"""

from collections.abc import Mapping

from stable_rescue import steps
from tests.faults.engine import Fault, MatrixRow
from tests.faults.places import Place
from tests.integration import base
from tests.integration.faults.saved_state import SavedState
from tests.integration.faults.server import FaultTestBase
from tests.integration.faults.strikes import FAULTS, LIBVIRT_STEPS, LoggedInjection


class RowTestBase(FaultTestBase, MatrixRow):
    """A row of the matrix; each action runs in a new nova-compute."""

    faults = FAULTS
    rescued: SavedState | None = None

    def row(self) -> str:
        return f"QEMU: {super().row()}"

    def get_ready(self) -> None:
        """Bring the server into the state that the action starts from.

        The state after the row's first rescue is saved, because another rescue for each
        cell would lead to the same state and take longer.
        """
        if self.action != "unrescue":
            return
        if self.rescued:
            self.rescued.restore()
        else:
            self.do("rescue")
            folder = base.new_folder(self.addCleanup, self.folder)
            self.rescued = SavedState(self.server, self.compute.database, folder)

    def do(self, action: str) -> None:
        code, output = self.compute.act(action)
        self.assertEqual(0, code, output[-3000:])

    def perform(self, faults: Mapping[Place, Fault]) -> list[Place]:
        injection = LoggedInjection(faults, self.folder / "places.log")
        self.code, self.output = self.compute.act(self.action, injection.observe)
        for fault in faults.values():
            fault.end()
            self.assertIn(fault.code, (None, self.code), self.output[-3000:])
        return injection.read()

    def assert_undisturbed(self) -> None:
        self.assertEqual(0, self.code, self.output[-3000:])

    def restart(self) -> None:
        self.do("restart")

    def new_fault(self, name: str) -> Fault:
        return self.faults[name](self.instances)


class AllFaults:
    def test_server_after_each_fault_is_recovered(self) -> None:
        self.assertLessEqual(LIBVIRT_STEPS, {*steps.names()})
        self.strike_everywhere()


class KillsOnly:
    def test_server_after_each_kill_is_recovered(self) -> None:
        self.strike_everywhere("SIGKILL")


class RescueOfRunningTest(AllFaults, RowTestBase):
    action, running = "rescue", True


class RescueOfStoppedTest(AllFaults, RowTestBase):
    action, running = "rescue", False


class UnrescueOfRunningTest(AllFaults, RowTestBase):
    action, running = "unrescue", True


class UnrescueOfStoppedTest(AllFaults, RowTestBase):
    action, running = "unrescue", False


class Uefi:
    """A server with UEFI variables, which a rescue copies."""

    running = False
    firmware, situation = "uefi", "UEFI"


class RescueOfUefiTest(Uefi, KillsOnly, RowTestBase):
    action = "rescue"


class UnrescueOfUefiTest(Uefi, KillsOnly, RowTestBase):
    action = "unrescue"
