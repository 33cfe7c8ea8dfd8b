# SPDX-License-Identifier: Apache-2.0
"""What becomes of devices between two views of one server.

The views are definitions (``domain.compare``) or what a guest sees
(``tempest.guest.comparison``); how devices are known again is theirs.
"""

import dataclasses
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Located(Protocol):
    """A device that is somewhere and may have a name."""

    @property
    def address(self) -> str:
        """Where it is; two addresses are the same place if they are equal."""

    @property
    def name(self) -> str:
        """What it is called there."""


D = TypeVar("D", bound=Located)


@dataclasses.dataclass(frozen=True)
class Change(Generic[D]):
    """One device before and after; one of the two may be missing."""

    before: D | None
    after: D | None

    @property
    def device(self) -> D:
        """The device as it was, or as it is if it was not there before."""
        device = self.before or self.after
        assert device is not None
        return device

    @property
    def appeared(self) -> bool:
        """Whether it was not there before."""
        return self.before is None

    @property
    def vanished(self) -> bool:
        """Whether it is not there any more."""
        return self.after is None

    @property
    def moved(self) -> bool:
        """Whether it is at another address."""
        return self._differs(lambda device: device.address)

    @property
    def renamed(self) -> bool:
        """Whether it has another name."""
        return self._differs(lambda device: device.name)

    @property
    def disturbed(self) -> bool:
        """Whether a device that was there is not where and what it was."""
        return self.moved or self.renamed or self.vanished

    def _differs(self, of: Callable[[D], object]) -> bool:
        """Say whether something of a device that is in both is not as it was."""
        if self.before is None or self.after is None:
            return False
        return of(self.before) != of(self.after)
