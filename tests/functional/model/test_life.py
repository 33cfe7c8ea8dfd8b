# SPDX-License-Identifier: Apache-2.0
"""Random sequences of operations and faults: the server is always as the model says."""

import os
from typing import ClassVar

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests import tally
from tests.functional.model.life import Life
from tests.functional.model.world import WorldTestBase

#: The environment variable with the number of sequences of all tests.
SEQUENCES = "STABLE_RESCUE_SEQUENCES"
#: The environment variable that makes hypothesis shrink a counterexample.
SHRINK = "STABLE_RESCUE_SHRINK"
TESTS = 4  # so that several processes share the sequences
STEPS = 10  # in each sequence


def sequences() -> int:
    """Return how many sequences each test runs."""
    return -(-int(os.environ.get(SEQUENCES, "100")) // TESTS)


class RandomLife:
    """A test with sequences that are always the same, because the seed is."""

    TIMEOUT_SCALING_FACTOR = 12
    seed: ClassVar[int]
    #: How many times fewer sequences the test runs than the others.
    divisor: ClassVar[int] = 1

    def test_server_is_always_as_the_model_says(self) -> None:
        lives: list[Life] = []

        @hypothesis.seed(self.seed)
        def new_life() -> Life:
            lives.append(Life(self))
            return lives[-1]

        phases = [Phase.generate, *[Phase.shrink] * bool(os.environ.get(SHRINK))]
        try:
            run_state_machine_as_test(
                new_life,
                settings=settings(
                    max_examples=-(-sequences() // self.divisor),
                    stateful_step_count=STEPS,
                    database=None,
                    deadline=None,
                    print_blob=False,
                    report_multiple_bugs=False,
                    phases=phases,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            steps = sum(len(life.history) for life in lives)
            tally.count_model(len(lives), steps, self.struck)


class FirstLifeTest(RandomLife, WorldTestBase):
    seed = 1


class SecondLifeTest(RandomLife, WorldTestBase):
    seed = 2


class ThirdLifeTest(RandomLife, WorldTestBase):
    seed = 3


class FourthLifeTest(RandomLife, WorldTestBase):
    seed = 4
