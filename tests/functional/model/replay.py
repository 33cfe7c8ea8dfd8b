# SPDX-License-Identifier: Apache-2.0
"""Replays sequences of the model."""

from tests.functional.model.life import Life
from tests.functional.model.messages import Fate
from tests.functional.model.world import Interference, WorldTestBase


class ReplayTestBase(WorldTestBase):
    """A test case whose tests are sequences of steps."""

    def replay(self, *steps: str | tuple[str, str, int] | tuple[str, Fate]) -> None:
        """Let steps happen; the server must be as the model says after each.

        :param steps: names, with the fault and its place, or with the message's fate
        """
        life = Life(self)
        for step in steps:
            interference, fate = None, Fate.DELIVERED
            match step:
                case (name, Fate() as fate):
                    pass
                case (name, fault, place):
                    interference = Interference(fault, place)
                case name:
                    pass
            life.happen(name, interference, fate)
            life.check()
