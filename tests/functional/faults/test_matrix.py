# SPDX-License-Identifier: Apache-2.0
"""Each point of a rescue and an unrescue x each fault: no server is lost."""

from tests.functional.faults.scenario import Scenario
from tests.functional.faults.servers import ServerOnLvm


class Cells:
    """A test for each fault."""

    def test_exception(self) -> None:
        self.strike_everywhere("exception")

    def test_late_exception(self) -> None:
        self.strike_everywhere("late exception")

    def test_kill(self) -> None:
        self.strike_everywhere("SIGKILL")

    def test_disk_full(self) -> None:
        self.strike_everywhere("disk full")

    def test_libvirt_lost(self) -> None:
        self.strike_everywhere("libvirt lost")


class RescueOfRunningTest(Cells, ServerOnLvm, Scenario):
    action, running = "rescue", True


class RescueOfStoppedTest(Cells, ServerOnLvm, Scenario):
    action, running = "rescue", False


class UnrescueOfRunningTest(Cells, ServerOnLvm, Scenario):
    action, running = "unrescue", True


class UnrescueOfStoppedTest(Cells, ServerOnLvm, Scenario):
    action, running = "unrescue", False
