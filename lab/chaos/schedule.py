# SPDX-License-Identifier: Apache-2.0
"""Which service is killed during which action, and when; the seed decides all of it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: How long a service stays dead: the time that an init system or a person takes.
PAUSE_SECONDS = (0.5, 3.0)


@dataclass(frozen=True)
class Run:
    """One rescue or unrescue with a kill in it.

    The server's status decides which: a rescue that has failed is requested again.
    ``moment`` is a share, from 0 to 1, of the time that the action takes undisturbed.
    """

    number: int
    server: str
    victim: str
    moment: float
    pause: float  # seconds


def schedule(
    seed: int, runs: int, servers: Sequence[str], victims: Sequence[str]
) -> list[Run]:
    """Return the runs: victims and servers take turns, each round in another order."""
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
