# SPDX-License-Identifier: Apache-2.0
"""The named steps of a rescue: every function that changes something outside.

A file, libvirt, Nova's database, Cinder: whatever a killed process would leave half
done is behind a function that is decorated here. The fault tests take the names from
here and let each step fail, or the process die, before and after it.
"""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

#: Called with "before NAME" and "after NAME"; the fault tests put theirs in its place.
observe: Callable[[str], None] = lambda point: None  # noqa: E731

_names: dict[str, str] = {}


def names() -> list[str]:
    """Return the name of every step in the modules imported so far."""
    return sorted(_names)


def _name(name: str, where: str) -> None:
    # A module may be read again, where its first import had failed.
    if _names.setdefault(name, where) != where:
        raise ValueError(f"there is a step {name!r} already")


def within(name: str, module: str) -> Callable[[], None]:
    """Name a point between two changes of one function that is not ours.

    :param module: the module that names it
    :returns: what to call there
    :raises ValueError: where the name is taken
    """
    _name(name, module)
    return lambda: observe(name)


def changes(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Name a function that changes something; a name stands for one function.

    :raises ValueError: where the name is taken
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        _name(name, f"{function.__module__}.{function.__qualname__}")

        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            observe(f"before {name}")
            result = function(*args, **kwargs)
            observe(f"after {name}")
            return result

        return run

    return decorate
