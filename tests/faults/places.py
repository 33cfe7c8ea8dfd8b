# SPDX-License-Identifier: Apache-2.0
"""Places of an action, at which a fault can strike."""

#: A point of stable_rescue.steps, and 1 for the first time that an action reaches it.
Place = tuple[str, int]


def step_of(place: Place) -> str:
    """Return the name of the step that a place belongs to."""
    return place[0].removeprefix("before ").removeprefix("after ")
