# SPDX-License-Identifier: Apache-2.0
"""Races with an unrescue."""

from tests.functional.races.base import RaceTestBase
from tests.functional.races.firsts import UNRESCUES


class UnrescueRaceTest(RaceTestBase):
    def test_server_after_each_race_with_unrescue_is_sound(self) -> None:
        self.race_all(UNRESCUES)
