# SPDX-License-Identifier: Apache-2.0
"""Killed twice: faults in what a start of nova-compute does for a rescue.

The first kill leaves a record in each of its states; the second fault strikes at each
point that the recovery reaches. The next start has to bring the server to rest.
"""

import contextlib
from typing import ClassVar

from stable_rescue.storage.record import State, Store
from tests.functional.faults.injection import Kill, Killed
from tests.functional.faults.scenario import Scenario
from tests.functional.faults.servers import ServerOnLvm
from tests.tally import Place


class Recovery:
    """A start of nova-compute behind a kill."""

    running = True
    first_kill: ClassVar[Place]
    left: ClassVar[State]

    def get_ready(self) -> None:
        super().get_ready()
        self.injection.arm(Kill(), self.first_kill)
        self.act(self.action)
        self.injection.disarm()
        record = Store(str(self.folder(self.server))).load()
        self.assertEqual(self.left, record.state if record else None)

    def perform(self) -> None:
        self.killed = self.error = None
        with contextlib.suppress(Killed):
            self.restart()

    def row(self) -> str:
        return f"recovery of {self.left.value}"

    def test_faults(self) -> None:
        self.strike_everywhere("SIGKILL", "exception")


class PreparingTest(Recovery, ServerOnLvm, Scenario):
    action = "rescue"
    first_kill = ("before fetch the rescue disk", 1)
    left = State.PREPARING


class BeginningTest(Recovery, ServerOnLvm, Scenario):
    action = "rescue"
    first_kill = ("before start a domain", 1)
    left = State.BEGINNING


class EndingTest(Recovery, ServerOnLvm, Scenario):
    action = "unrescue"
    first_kill = ("before start a domain", 1)
    left = State.ENDING


class RescuedTest(Recovery, ServerOnLvm, Scenario):
    """Nova was not told that the server is rescued, nor that its host was rebooted."""

    action = "rescue"
    first_kill = ("after move a file into place", 5)
    left = State.RESCUED

    def get_ready(self) -> None:
        super().get_ready()
        self.domain().destroy()
