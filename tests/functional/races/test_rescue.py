# SPDX-License-Identifier: Apache-2.0
"""Races with a rescue that a user has requested."""

from tests.functional.races.base import RaceTestBase
from tests.functional.races.firsts import RESCUES


class RescueRaceTest(RaceTestBase):
    def test_server_after_each_race_with_rescue_is_sound(self) -> None:
        self.race_all(RESCUES)
