# SPDX-License-Identifier: Apache-2.0
"""Markers: what one guest wrote to a disk, and whether the next guest read it there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stable_rescue.tempest.guest.comparison import compare, place, title
from stable_rescue.tempest.guest.inventory import Device, Inventory


@dataclass(frozen=True)
class Reading:
    """The markers of one guest, as the next guest read them."""

    writer: Inventory
    reader: Inventory
    #: The server before the rescue: a disk that is not in it is the rescue disk.
    original: Inventory

    @property
    def pairs(self) -> list[tuple[Device, Device | None]]:
        """The server's writable disks, as the writer and as the reader saw them.

        Disks that the writer did not see are left out: the comparison of addresses
        reports them.
        """
        present = {
            change.after
            for change in compare(self.original, self.writer).originals
            if change.after
        }
        return [
            (change.before, change.after)
            for change in compare(self.writer, self.reader).originals
            if change.before in present and _is_writable(change.before)
        ]

    @property
    def kept(self) -> int:
        """How many markers the reader read back unchanged."""
        return sum(not _fault(*pair) for pair in self.pairs)

    def faults(self) -> Iterator[str]:
        """Yield a fault for each disk without its marker."""
        if not self.pairs:
            yield f"the {self.writer.image} guest had no disk to write a marker to"
        for written, read in self.pairs:
            if fault := _fault(written, read):
                yield f"{title(written)} at {place(written)}: {fault}"


def line(readings: Sequence[Reading]) -> str:
    """Return a line that says how many markers of each guest the next guest read."""
    words = (
        f"the {reading.reader.image} guest read {reading.kept} of"
        f" {len(reading.pairs)} from the {reading.writer.image} guest"
        for reading in readings
    )
    return f"markers: {', '.join(words)}"


def _is_writable(device: Device) -> bool:
    return device.kind == "disk" and not device.readonly and not device.is_cdrom


def _fault(written: Device, read: Device | None) -> str:
    """Return what is wrong with a marker, "" if nothing is."""
    if written.marker_written in ("", "failed"):
        return "no marker could be written"
    if read is None:
        return "the next guest does not have this disk"
    if read.marker_read != written.marker_written:
        return f"{written.marker_written!r} was written, {read.marker_read!r} was read"
    return ""
