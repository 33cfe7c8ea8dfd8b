# SPDX-License-Identifier: Apache-2.0
"""What a host knows about an instance's rescue, as one value."""

import datetime
from dataclasses import dataclass

from stable_rescue.storage.record import Record, State


@dataclass(frozen=True)
class KnownRescue:
    """A snapshot of what the host knows about an instance's rescue.

    ``record`` is None if there is none that can be read, or if it belongs to an earlier
    rescue. ``has_record`` is True if a record exists, even a damaged one. ``is_lost``
    is True if the instance is RESCUED in Nova, but neither the record nor unrescue.xml
    survives (U19). ``has_original`` is True if there is an unrescue.xml, even a damaged
    one.
    """

    record: Record | None
    has_record: bool
    is_lost: bool
    has_original: bool = False

    @property
    def is_stable(self) -> bool:
        """True for a recorded rescue, and for a lost one, which is handled like it."""
        return self.record is not None or self.is_lost

    @property
    def is_begun(self) -> bool:
        """True if a rescue, stable or stock, has left something on this host."""
        return self.has_record or self.has_original

    @property
    def is_untouched(self) -> bool:
        """True if the record says that the guest was never touched."""
        return self.record is not None and self.record.state in (
            State.PREPARING,
            State.PREPARED,
        )

    @property
    def is_ending(self) -> bool:
        """True unless the record says that the rescue's end has not begun."""
        return self.record is None or self.record.state is not State.RESCUED

    @property
    def was_running(self) -> bool | None:
        """True if the guest ran before the rescue; None if that is unknown."""
        return self.record.was_running if self.record else None

    @property
    def launched_at(self) -> datetime.datetime | None:
        """When Nova launched the server, in UTC; None if that is unknown."""
        return self.record.launched_at if self.record else None

    @property
    def rescued_at(self) -> datetime.datetime | None:
        """When the rescue system was started, in UTC; None if that is unknown."""
        return self.record.rescued_at if self.record else None
