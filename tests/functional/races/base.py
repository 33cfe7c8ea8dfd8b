# SPDX-License-Identifier: Apache-2.0
"""Races between two operations on one server, and what must hold after each."""

from collections.abc import Callable
from typing import Any, NamedTuple

from tests import tally
from tests.faults.engine import Injection
from tests.faults.places import Place
from tests.functional.faults.strikes import Killed
from tests.functional.model.invariants import check
from tests.functional.races.firsts import First
from tests.functional.races.host import HostTestBase
from tests.functional.races.seconds import AT_EVERY_POINT, RESTART, SECONDS
from tests.functional.races.turns import FIRST, SECOND, LockFixture, Turns


class Spot(NamedTuple):
    """A place of the first operation, and what the second one finds there."""

    place: Place
    #: How often the first operation has taken the instance's lock until here.
    taken: int
    is_locked: bool
    #: The server's states in Nova's database.
    state: tuple[str, str | None]

    @property
    def stretch(self) -> tuple[int, bool]:
        """Return what is the same between two changes of the lock."""
        return self.taken, self.is_locked


class Meeting(Injection):
    """Calls a function at each place that the first operation reaches."""

    def __init__(self, turns: Turns, at_place: Callable[[Place], None]) -> None:
        super().__init__()
        self._turns = turns
        self._at_place = at_place
        self._killed: Killed | None = None

    def observe(self, point: str) -> None:
        if self._turns.turn == FIRST:
            if self._killed is not None:
                raise self._killed
            super().observe(point)

    def note(self, place: Place) -> None:
        super().note(place)
        try:
            self._at_place(place)
        except Killed as killed:
            self._killed = killed
            raise


class RaceTestBase(HostTestBase):
    """A server on which two operations race, again and again."""

    TIMEOUT_SCALING_FACTOR = 12

    def setUp(self) -> None:
        super().setUp()
        self.locks = self.useFixture(LockFixture(self.server["id"]))

    def race_all(self, firsts: tuple[First, ...]) -> None:
        """Race each operation with each other one; fail if anything is wrong."""
        wrong = []
        for first in firsts:
            self.prepare(first.prepare)
            spots = self.spots(first)
            for second in SECONDS:
                wrong += self.race_everywhere(first, second, spots)
        self.assertEqual([], wrong)

    def spots(self, first: First) -> list[Spot]:
        """Return where the second operation can begin."""
        reached: list[Spot] = []
        self.meet(first, lambda place: reached.append(self.spot(place)), lambda: None)
        self.assertIsNone(self.locks.lock.owner)
        check(self, first.done)
        # "After" a step is also "before" the next one, unless the lock is between.
        return [
            spot
            for spot, following in zip(reached, [*reached[1:], None], strict=True)
            if not spot.place[0].startswith("after ")
            or following is None
            or (spot.stretch, spot.state) != (following.stretch, following.state)
        ]

    def spot(self, place: Place) -> Spot:
        """Return what the second operation finds at a place."""
        lock = self.locks.lock
        return Spot(place, lock.taken, lock.owner == FIRST, self.nova_state()[:2])

    def meet(
        self, first: First, at_place: Callable[[Place], None], second: Callable[[], Any]
    ) -> None:
        """Run two operations; call a function at each place of the first one."""
        self.begin()
        self.turns = self.locks.renew()
        self.injection.observe_with(Meeting(self.turns, at_place))
        try:
            self.turns.run(lambda: self.do_until_killed(first.act), second)
        finally:
            self.injection.disarm()

    def race_everywhere(
        self, first: First, second: str, spots: list[Spot]
    ) -> list[str]:
        """Race two operations at all points that may differ; return what is wrong.

        The API refuses by the states in Nova's database, so one point for each of them
        is enough. What has waited for the lock begins when the first operation releases
        it, so one point for each time that the lock is held is enough.
        """
        wrong = []
        known: set[Any] = set()
        for spot in spots:
            if spot.state in known or spot.stretch in known:
                continue
            try:
                accepted = self.race(first, second, spot)
            except Exception as error:  # noqa: BLE001 - try the other races
                tally.count_race(first.name, second, spot.place, "wrong")
                wrong.append(f"{first.name} | {second} | {spot}: {error}")
                continue
            outcome = "fine" if accepted else "refused"
            tally.count_race(first.name, second, spot.place, outcome)
            if not accepted:
                known.add(spot.state)
            has_waited = SECOND in self.turns.waited
            if has_waited or not (first.is_thorough and second in AT_EVERY_POINT):
                known.add(spot.stretch)
        return wrong

    def race(self, first: First, second: str, spot: Spot) -> bool:
        """Let the second operation begin at a place of the first one.

        :returns: True if the API has accepted the second operation
        """
        accepted: list[bool] = []
        guest: list[Any] = []

        def begin(place: Place) -> None:
            if place == spot.place:
                if second == RESTART:
                    raise Killed(place)
                self.turns.pass_on()

        def act() -> None:
            accepted.append(self.do(SECONDS[second]))
            guest.append(second == "evacuate" and self.guest())

        self.meet(first, begin, act)
        self.assertEqual(1, len(accepted))
        if second == "evacuate" and accepted[0]:
            self.assert_not_touched(None if spot.is_locked else guest[0])
        else:
            self.assert_sound(first, second, accepted[0])
        return accepted[0]
