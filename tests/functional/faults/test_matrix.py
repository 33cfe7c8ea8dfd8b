# SPDX-License-Identifier: Apache-2.0
"""Every fault at every place of a rescue and an unrescue: no server is lost."""

from tests.functional.faults.base import RowTestBase
from tests.functional.faults.servers import ServerOnLvm
from tests.functional.faults.snapshot import FromSnapshot


class EachFault:
    """A test for each kind of fault, because a row of this length takes minutes."""

    def test_server_after_a_failed_step_is_recovered(self) -> None:
        self.strike_everywhere("exception")

    def test_server_after_a_step_failed_late_is_recovered(self) -> None:
        self.strike_everywhere("late exception")

    def test_server_after_a_kill_is_recovered(self) -> None:
        self.strike_everywhere("SIGKILL")

    def test_server_after_a_full_disk_is_recovered(self) -> None:
        self.strike_everywhere("disk full")

    def test_server_after_loss_of_libvirt_is_recovered(self) -> None:
        self.strike_everywhere("libvirt lost")


class RescueOfRunningTest(EachFault, ServerOnLvm, RowTestBase):
    action, running = "rescue", True


class RescueOfStoppedTest(EachFault, ServerOnLvm, RowTestBase):
    action, running = "rescue", False


class UnrescueOfRunningTest(EachFault, FromSnapshot, ServerOnLvm, RowTestBase):
    action, running = "unrescue", True


class UnrescueOfStoppedTest(EachFault, FromSnapshot, ServerOnLvm, RowTestBase):
    action, running = "unrescue", False
