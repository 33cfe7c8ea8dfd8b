# SPDX-License-Identifier: Apache-2.0
"""The named steps of a rescue: all code that changes something outside the process.

A step writes a file, or calls libvirt, Nova's database or Cinder. If the process is
killed, a change may be half done; the fault tests take the names of the steps from
here and let each step fail, or kill the process, before and after it.
"""

import contextlib
from collections.abc import Callable

#: Called with "before NAME", "after NAME" or a point's NAME; fault tests replace it.
observe: Callable[[str], None] = lambda point: None  # noqa: E731

_names: set[str] = set()


def names() -> list[str]:
    """Return the names of all steps and points in the modules imported so far."""
    return sorted(_names)


class changes(contextlib.ContextDecorator):
    """Mark a function, or the block of a with statement, as a named step.

    "before NAME" is observed before it, "after NAME" after it has succeeded. A step
    must be known once its module is imported, so a with statement needs an object of
    the module::

        _REMOVE_LVM = steps.changes("remove LVM volumes")
        ...
        with _REMOVE_LVM:

    The object is stateless, so threads can share it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        _names.add(name)

    def __enter__(self) -> None:
        observe(f"before {self._name}")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            observe(f"after {self._name}")


def point(name: str) -> Callable[[], None]:
    """Name a point inside a step, between two changes that Nova's code makes.

    :returns: a callback that Nova calls at this point
    """
    _names.add(name)
    return lambda: observe(name)
