# SPDX-License-Identifier: Apache-2.0
"""Every fault at every place of a rescue and an unrescue: no server is lost."""

from tests.functional.faults.base import RowTestBase
from tests.functional.faults.servers import ServerOnLvm
from tests.functional.faults.snapshot import FromSnapshot


class EachFault:
    """Two tests of the same length, for two processes. setUp takes four seconds."""

    def test_server_after_each_failed_step_is_recovered(self) -> None:
        self.strike_everywhere("exception", "late exception")

    def test_server_after_each_kill_or_loss_is_recovered(self) -> None:
        self.strike_everywhere("SIGKILL", "disk full", "libvirt lost")


class RescueOfRunningTest(EachFault, ServerOnLvm, RowTestBase):
    action, running = "rescue", True


class RescueOfStoppedTest(EachFault, ServerOnLvm, RowTestBase):
    action, running = "rescue", False


class UnrescueOfRunningTest(EachFault, FromSnapshot, ServerOnLvm, RowTestBase):
    action, running = "unrescue", True


class UnrescueOfStoppedTest(EachFault, FromSnapshot, ServerOnLvm, RowTestBase):
    action, running = "unrescue", False
