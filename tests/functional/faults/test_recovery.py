# SPDX-License-Identifier: Apache-2.0
"""Faults in the recovery of an interrupted rescue when nova-compute starts.

A first kill leaves a record in each of its states. A second fault strikes at each place
that the recovery reaches. The next start must recover the server.
"""

import contextlib
from typing import ClassVar

from nova.compute import task_states, vm_states

from stable_rescue.storage.record import State
from tests.functional.faults.base import RowTestBase
from tests.functional.faults.servers import ServerOnLvm
from tests.functional.faults.snapshot import FromSnapshot
from tests.functional.faults.strikes import Killed


class Recovery:
    """A start of nova-compute after a kill."""

    running = True
    #: The state of the record that the kill leaves.
    left: ClassVar[State]

    def get_ready(self) -> None:
        super().get_ready()
        self.kill_in_action()
        record = self.record()
        self.assertEqual(self.left, record.state if record else None)

    def row(self) -> str:
        return f"recovery of {self.left.value}"

    def test_server_after_a_second_fault_is_recovered(self) -> None:
        self.strike_everywhere("SIGKILL", "exception")


class PreparingTest(Recovery, FromSnapshot, ServerOnLvm, RowTestBase):
    action = "rescue"
    killed_at = ("before fetch the rescue disk", 1)
    left = State.PREPARING


class BeginningTest(Recovery, FromSnapshot, ServerOnLvm, RowTestBase):
    action = "rescue"
    killed_at = ("before start a domain", 1)
    left = State.BEGINNING


class EndingTest(Recovery, FromSnapshot, ServerOnLvm, RowTestBase):
    action = "unrescue"
    killed_at = ("before start a domain", 1)
    left = State.ENDING


class RescuedTest(Recovery, FromSnapshot, ServerOnLvm, RowTestBase):
    """Neither the rescue nor the reboot of the host has reached Nova's database."""

    action = "rescue"
    killed_at = ("after move a file into place", 5)
    left = State.RESCUED

    def get_ready(self) -> None:
        super().get_ready()
        self.domain().destroy()


class LostRequestTest(FromSnapshot, ServerOnLvm, RowTestBase):
    """The request was made while nova-compute was down, and never arrives."""

    action, running = "rescue", True

    def get_ready(self) -> None:
        self.set_nova_state(vm_states.ACTIVE, task_states.RESCUING)

    def perform_action(self) -> None:
        self.killed = self.error = None
        self.flags(stalled_after=120, group="stable_rescue")
        with contextlib.suppress(Killed):
            # The request may be queued, so a start leaves the server in its task.
            self.restart()
            self.assertEqual(task_states.RESCUING, self.nova_state().task_state)
            self.recover_stalled()
        self.flags(stalled_after=0, group="stable_rescue")

    def row(self) -> str:
        return "recovery of a lost request"

    def test_server_after_a_fault_is_recovered(self) -> None:
        self.strike_everywhere("SIGKILL", "exception")
