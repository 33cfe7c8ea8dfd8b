# SPDX-License-Identifier: Apache-2.0
"""Markers: what one guest wrote to a disk, and whether the next one read it there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stable_rescue.tempest.guest.comparison import compare, place, title
from stable_rescue.tempest.guest.inventory import Device, Inventory


@dataclass(frozen=True)
class Reading:
    """The markers of one guest, as the guest that booted after it found them."""

    writer: Inventory
    reader: Inventory
    #: The server's disks, by a guest of its own: the rescue disk is none of them.
    own: Inventory

    @property
    def pairs(self) -> list[tuple[Device, Device | None]]:
        """The server's disks that can be written to, as writer and as reader saw them.

        A disk that the writer did not see at all is not among them: that is for the
        comparison of addresses to tell.
        """
        present = {
            change.after
            for change in compare(self.own, self.writer).originals
            if change.after
        }
        return [
            (change.before, change.after)
            for change in compare(self.writer, self.reader).originals
            if change.before in present and _is_writable(change.before)
        ]

    @property
    def kept(self) -> int:
        """How many markers were read back as they were written."""
        return sum(not _fault(*pair) for pair in self.pairs)

    def faults(self) -> Iterator[str]:
        """Yield what is not as it should be, by disk."""
        if not self.pairs:
            yield f"the {self.writer.image} guest had no disk to write a marker to"
        for wrote, found in self.pairs:
            if fault := _fault(wrote, found):
                yield f"{title(wrote)} at {place(wrote)}: {fault}"


def line(readings: Sequence[Reading]) -> str:
    """Return how many markers of each guest were found by the next, for a person."""
    words = (
        f"{reading.kept} of {len(reading.pairs)} of the {reading.writer.image} guest's"
        f" read by the {reading.reader.image} guest"
        for reading in readings
    )
    return f"markers: {', '.join(words)}"


def _is_writable(device: Device) -> bool:
    return device.kind == "disk" and not device.readonly and not device.is_cdrom


def _fault(wrote: Device, found: Device | None) -> str:
    if wrote.marker_written in ("", "failed"):
        return "no marker could be written"
    if found is None:
        return "the next guest does not have it"
    if found.marker_read != wrote.marker_written:
        return f"{wrote.marker_written!r} was written, {found.marker_read!r} was read"
    return ""
