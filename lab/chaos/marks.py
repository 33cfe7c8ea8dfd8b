# SPDX-License-Identifier: Apache-2.0
"""The marks on a server's disks, each with another byte."""

from __future__ import annotations

from lab.servers.disks import disks_of


class Marks:
    """The marks on one server's disks."""

    def __init__(self, definition: str, first_byte: int) -> None:
        disks = disks_of(definition)
        self._marks = {
            disk: first_byte + number
            for number, disk in enumerate(d for d in disks if d.writable)
        }
        self._digests = {d: d.digest() for d in disks if not d.writable}

    def write(self) -> None:
        """Write all marks; the guest must be off."""
        for disk, byte in self._marks.items():
            disk.mark(byte)

    def damaged(self) -> tuple[str, ...]:
        """Return the targets of the disks that have lost their mark or changed."""
        lost = [d.target for d, byte in self._marks.items() if not d.has_mark(byte)]
        for disk, digest in self._digests.items():
            try:
                intact = disk.digest() == digest
            except OSError:
                intact = False
            if not intact:
                lost.append(disk.target)
        return tuple(lost)
