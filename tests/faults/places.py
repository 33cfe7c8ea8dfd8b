# SPDX-License-Identifier: Apache-2.0
"""Places of an action: where a fault can strike."""

#: A point of stable_rescue.steps, and how often the action had reached it by then.
Place = tuple[str, int]


def step_of(place: Place) -> str:
    """Return the name of the step that a place is before, after or in."""
    return place[0].removeprefix("before ").removeprefix("after ")
