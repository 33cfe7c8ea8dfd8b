# SPDX-License-Identifier: Apache-2.0
"""What the demo found: a table for a person and a verdict for a script."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stable_rescue.tempest.guest.comparison import Change, compare, place, title
from stable_rescue.tempest.guest.inventory import Device, Inventory

_RED, _PLAIN = "\033[31m", "\033[0m"
_HEADINGS = ("device", "before", "in rescue", "after")


@dataclass(frozen=True)
class Row:
    """One device in the three inventories; None where it is not there."""

    before: Device | None
    rescued: Device | None
    after: Device | None

    @property
    def moved(self) -> bool:
        """Whether a device that was there is elsewhere, named otherwise, or gone."""
        return self.before is not None and (
            Change(self.before, self.rescued).disturbed
            or Change(self.before, self.after).disturbed
        )

    @property
    def device(self) -> Device:
        """The device as it was, or as it is if it was not there before."""
        device = self.before or self.rescued or self.after
        assert device is not None
        return device


@dataclass(frozen=True)
class Result:
    """The inventories before, in rescue and after, and what they say together."""

    before: Inventory
    rescued: Inventory
    after: Inventory

    @property
    def rows(self) -> list[Row]:
        """All devices, those of the server first."""
        in_rescue = compare(self.before, self.rescued)
        afterwards = compare(self.before, self.after)
        rescued = {c.before: c.after for c in in_rescue.originals}
        after = {c.before: c.after for c in afterwards.originals}
        rows = [
            Row(device, rescued[device], after[device])
            for device in (change.before for change in in_rescue.originals)
        ]
        rows += [Row(None, device, None) for device in in_rescue.appeared]
        return rows + [Row(None, None, device) for device in afterwards.appeared]

    @property
    def moved(self) -> int:
        """How many of the server's devices did not stay where and what they were."""
        return sum(row.moved for row in self.rows)

    @property
    def originals(self) -> int:
        """How many devices the server had."""
        return sum(row.before is not None for row in self.rows)

    def faults(self, image: str = "rescue") -> Iterator[str]:
        """Yield what is not as it should be; nothing where all is well.

        :param image: the one that should have booted in rescue
        """
        if self.moved:
            yield f"{self.moved} of the server's devices moved"
        if self.rescued.image != image:
            yield f"the rescue booted the image {self.rescued.image!r}"
        booted, added = self.rescued.boot_disk, compare(self.before, self.rescued)
        if booted not in added.appeared:
            yield f"the rescue booted from {place(booted) if booted else 'who knows'}"
        if sum(device.kind == "disk" for device in added.appeared) != 1:
            yield "the rescue brought other than one disk"
        if self.after.image != "original":
            yield f"afterwards the image {self.after.image!r} booted"
        if compare(self.before, self.after).appeared:
            yield "something stayed behind after the rescue"

    def lines(self, colour: bool) -> Iterator[str]:
        """Yield the table, row by row, what moved in red where there is colour."""
        texts = [(_HEADINGS, False)]
        for row in self.rows:
            places = (row.before, row.rescued, row.after)
            shown = tuple(place(device) if device else "-" for device in places)
            texts.append(((title(row.device), *shown), row.moved))
        widths = [max(len(cells[n]) for cells, _ in texts) for n in range(4)]
        for cells, moved in texts:
            padded = (
                cell.ljust(width) for cell, width in zip(cells, widths, strict=True)
            )
            line = "  ".join(padded).rstrip()
            if moved and not colour:
                line += "  MOVED"
            yield f"{_RED}{line}{_PLAIN}" if moved and colour else line
