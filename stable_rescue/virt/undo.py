# SPDX-License-Identifier: Apache-2.0
"""What has been done so far, and how to undo it."""

import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from nova import objects
from oslo_log import log as logging

LOG = logging.getLogger(__name__)


class Undo(contextlib.AbstractContextManager["Undo"]):
    """Undoes in reverse what was done, where the block fails; else it is kept.

    The first error is raised on; what cannot be undone is logged and the rest is
    undone still.

    :param lastly: is done in the end if all has been undone: removes the record
    """

    def __init__(
        self, instance: "objects.Instance", lastly: Callable[[], object]
    ) -> None:
        self._instance = instance
        self._lastly = lastly
        self._undo: list[tuple[Callable[..., object], tuple[Any, ...]]] = []

    def add(self, undo: Callable[..., object], *args: Any) -> None:
        """Note how to undo what is about to be done, also if it is done in part."""
        self._undo.append((undo, args))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.undo()

    def undo(self) -> None:
        """Undo all; also what was kept, where it is not wanted any more."""
        done = [self._try(undo, *args) for undo, args in reversed(self._undo)]
        if all(done):
            self._try(self._lastly)

    def _try(self, undo: Callable[..., object], *args: Any) -> bool:
        try:
            undo(*args)
        except Exception:
            LOG.exception(
                "A step could not be undone; the next start of nova-compute tries "
                "again",
                instance=self._instance,
            )
            return False
        return True
