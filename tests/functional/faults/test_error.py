# SPDX-License-Identifier: Apache-2.0
"""Faults in the rescue of a server that an operator has set to ERROR."""

from nova.compute import vm_states

from tests.functional.faults.base import RowTestBase
from tests.functional.faults.servers import ServerOnLvm
from tests.functional.faults.snapshot import FromSnapshot


class ErrorByOperatorTest(FromSnapshot, ServerOnLvm, RowTestBase):
    """A rescue that is interrupted may leave the ERROR, but not another guest."""

    action, running = "rescue", True
    situation = "ERROR by operator"
    other_steps = frozenset({"define a domain", "power off", "start a domain"})

    def get_ready(self) -> None:
        self.set_nova_state(vm_states.ERROR, None)

    def assert_recovered(self, running: bool) -> bool:
        state = self.nova_state()
        if state.vm_state != vm_states.ERROR:
            return super().assert_recovered(running)
        self.assertIsNone(state.task_state)
        self.assert_original(running)
        return False

    def test_server_after_each_kill_or_loss_is_recovered(self) -> None:
        self.strike_everywhere("SIGKILL", "libvirt lost")
