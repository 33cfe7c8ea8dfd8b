# SPDX-License-Identifier: Apache-2.0
"""A device in two views of one server, and whether it moved.

The views are definitions (``domain.compare``) or what a guest sees
(``tempest.guest.comparison``). Each of these modules has its own rules for matching a
device in one view with the same device in the other.
"""

import dataclasses
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Located(Protocol):
    """A device with an address and perhaps a name."""

    @property
    def address(self) -> str:
        """Return the address; equal addresses are the same place."""

    @property
    def name(self) -> str:
        """Return the name; it is empty if the device has none."""


D = TypeVar("D", bound=Located)


@dataclasses.dataclass(frozen=True)
class Change(Generic[D]):
    """One device before and after; one of the two may be missing."""

    before: D | None
    after: D | None

    @property
    def device(self) -> D:
        """Return the device before the change, or after it if it has appeared."""
        device = self.before or self.after
        assert device is not None
        return device

    @property
    def appeared(self) -> bool:
        """Return True if the device is new."""
        return self.before is None

    @property
    def vanished(self) -> bool:
        """Return True if the device is gone."""
        return self.after is None

    @property
    def moved(self) -> bool:
        """Return True if the device has another address."""
        return self._differs(lambda device: device.address)

    @property
    def renamed(self) -> bool:
        """Return True if the device has another name."""
        return self._differs(lambda device: device.name)

    @property
    def disturbed(self) -> bool:
        """Return True if a device moved, was renamed or vanished."""
        return self.moved or self.renamed or self.vanished

    def _differs(self, value_of: Callable[[D], object]) -> bool:
        """Return True if the device is in both views and its value differs."""
        if self.before is None or self.after is None:
            return False
        return value_of(self.before) != value_of(self.after)
