# SPDX-License-Identifier: Apache-2.0
"""Faults in a rescue that dumps the memory: the guest runs on, or is rescued.

No incomplete dump is left. A guest that was paused and not powered off is resumed.
"""

from stable_rescue.storage.record import State
from tests.faults.engine import EveryFault
from tests.functional.faults.base import FaultTestBase, RowTestBase
from tests.functional.faults.test_recovery import Recovery
from tests.functional.memory import DumpingMixin

_DUMPED = ("after dump the memory", 1)


class ServerWithDump(DumpingMixin, FaultTestBase):
    """A server whose rescue dumps its memory."""

    situation = "memory dumped"

    def assert_rescue_runs(self) -> None:
        super().assert_rescue_runs()
        self.assertIn(self.record().memory_dump.rpartition("/")[2], self.dump_files())


class DumpTest(EveryFault, ServerWithDump, RowTestBase):
    action, running = "rescue", True
    unique_steps = frozenset(
        {"make the file of a memory dump", "pause the guest", "dump the memory"}
    )
    other_steps = frozenset({"move a file into place", "power off", "start a domain"})


class RollbackTest(EveryFault, ServerWithDump, RowTestBase):
    action, running = "rescue", True
    situation = "rollback of a memory dump"
    fails_at = _DUMPED
    unique_steps = frozenset({"resume the guest", "remove an incomplete memory dump"})
    other_steps = frozenset()


class RecoveryTest(Recovery, ServerWithDump, RowTestBase):
    action = "rescue"
    killed_at = _DUMPED
    left = State.BEGINNING

    def row(self) -> str:
        return "recovery of a memory dump"
