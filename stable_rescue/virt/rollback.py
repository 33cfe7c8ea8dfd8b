# SPDX-License-Identifier: Apache-2.0
"""The steps that a preparation has taken so far, and how to roll each back."""

import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from nova import objects
from oslo_concurrency import lockutils
from oslo_log import log as logging

LOG = logging.getLogger(__name__)


class Rollback(contextlib.AbstractContextManager["Rollback"]):
    """Roll steps back, last one first, if the block fails; keep them otherwise.

    The instance's lock is held meanwhile, so the block must not hold it.

    The error of the block propagates. An error of the rollback is logged, and the
    remaining steps are rolled back anyway.

    :param lastly: called if every step was rolled back; removes the record
    """

    def __init__(
        self, instance: "objects.Instance", lastly: Callable[[], object]
    ) -> None:
        self._instance = instance
        self._lastly = lastly
        self._actions: list[tuple[Callable[..., object], tuple[Any, ...]]] = []

    def add(self, action: Callable[..., object], *args: Any) -> None:
        """Register what rolls the next step back, also if the step fails halfway."""
        self._actions.append((action, args))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            with lockutils.lock(self._instance.uuid):
                self.run()

    def run(self) -> None:
        """Roll every step back. Also used to discard a rescue that is not wanted.

        The caller holds the instance's lock.
        """
        succeeded = [
            self._try(action, *args) for action, args in reversed(self._actions)
        ]
        if all(succeeded):
            self._try(self._lastly)

    def _try(self, action: Callable[..., object], *args: Any) -> bool:
        try:
            action(*args)
        except Exception:
            LOG.exception(
                "Could not roll back a step of preparing a rescue; nova-compute tries "
                "again after [stable_rescue] stalled_after seconds or at its next "
                "start",
                instance=self._instance,
            )
            return False
        return True
