# SPDX-License-Identifier: Apache-2.0
"""The steps that a preparation has taken so far, and how to undo each."""

import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from nova import objects
from oslo_log import log as logging

LOG = logging.getLogger(__name__)


class Rollback(contextlib.AbstractContextManager["Rollback"]):
    """Undo steps in reverse order if the block fails; keep them otherwise.

    The first error propagates. A step that cannot be undone is logged, and the
    remaining ones are undone anyway.

    :param lastly: called at the end if every step was undone; removes the record
    """

    def __init__(
        self, instance: "objects.Instance", lastly: Callable[[], object]
    ) -> None:
        self._instance = instance
        self._lastly = lastly
        self._undo: list[tuple[Callable[..., object], tuple[Any, ...]]] = []

    def add(self, undo: Callable[..., object], *args: Any) -> None:
        """Register how to undo the next step, even if the step fails halfway."""
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
            self.run()

    def run(self) -> None:
        """Undo every step. Also used to discard a result that is not wanted."""
        undone = [self._try(undo, *args) for undo, args in reversed(self._undo)]
        if all(undone):
            self._try(self._lastly)

    def _try(self, undo: Callable[..., object], *args: Any) -> bool:
        try:
            undo(*args)
        except Exception:
            LOG.exception(
                "Could not undo a step of preparing a rescue; nova-compute tries again "
                "after [stable_rescue] stalled_after seconds or at its next start",
                instance=self._instance,
            )
            return False
        return True
