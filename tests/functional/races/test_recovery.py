# SPDX-License-Identifier: Apache-2.0
"""Races with the recovery of a rescue, at a start of nova-compute or when it stalls."""

from unittest import mock

from tests.functional.races.base import RaceTestBase
from tests.functional.races.firsts import RECOVERIES


class RecoveryRaceTest(RaceTestBase):
    def test_server_after_each_race_with_recovery_is_sound(self) -> None:
        self.race_all(RECOVERIES)

    def test_races_find_a_state_that_recovery_overwrites(self) -> None:
        (recovery,) = (each for each in RECOVERIES if each.name == "restart, unrescue")
        self.prepare(recovery.prepare)
        spot = self.spots(recovery)[0]
        with (
            mock.patch(
                "stable_rescue.compute.instance_recovery.save_over",
                lambda _states, instance: instance.save(),
            ),
            self.assertRaisesRegex(AssertionError, "'ACTIVE' not in {'ERROR'}"),
        ):
            self.race(recovery, "reset to error", spot)
        self.race(recovery, "reset to error", spot)
