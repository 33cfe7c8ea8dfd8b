# SPDX-License-Identifier: Apache-2.0
"""What is killed when: the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: Seconds between a death and the next start: as a person, or an init system, needs.
PAUSE_SECONDS = (0.5, 3.0)


@dataclass(frozen=True)
class Run:
    """One rescue, or the end of one, with a death in it.

    Which of both it is the server's state tells: a rescue that did not come about is
    asked for again. ``moment`` is a share of the time that the same takes undisturbed.
    """

    number: int
    server: str
    victim: str
    moment: float
    pause: float  # seconds


def schedule(
    seed: int, runs: int, servers: Sequence[str], victims: Sequence[str]
) -> list[Run]:
    """Return the runs: victims and servers in turn, each turn in another order."""
    chance = random.Random(seed)
    next_server, next_victim = _deck(chance, servers), _deck(chance, victims)
    return [
        Run(
            number,
            next(next_server),
            next(next_victim),
            chance.random(),
            chance.uniform(*PAUSE_SECONDS),
        )
        for number in range(1, runs + 1)
    ]


def _deck(chance: random.Random, cards: Sequence[str]) -> Iterator[str]:
    while True:
        yield from chance.sample(list(cards), len(cards))
