# SPDX-License-Identifier: Apache-2.0
"""The result of a rescue: a table for the user and faults for the exit status."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stable_rescue.tempest.guest.comparison import Change, compare, place, title
from stable_rescue.tempest.guest.inventory import Device, Inventory

_RED, _PLAIN = "\033[31m", "\033[0m"
_HEADINGS = ("device", "before", "in rescue", "after")


@dataclass(frozen=True)
class Row:
    """One device in the three inventories; None if an inventory lacks the device."""

    before: Device | None
    rescued: Device | None
    after: Device | None

    @property
    def moved(self) -> bool:
        """True if one of the server's devices moved, was renamed or disappeared."""
        return self.before is not None and (
            Change(self.before, self.rescued).disturbed
            or Change(self.before, self.after).disturbed
        )

    @property
    def device(self) -> Device:
        """The device before the rescue, or as first seen if it is new."""
        device = self.before or self.rescued or self.after
        assert device is not None
        return device


@dataclass(frozen=True)
class Result:
    """The inventories before, in rescue and after, compared with each other."""

    before: Inventory
    rescued: Inventory
    after: Inventory

    @property
    def rows(self) -> list[Row]:
        """All devices, the server's original ones first."""
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
        """How many of the server's devices moved, were renamed or disappeared."""
        return sum(row.moved for row in self.rows)

    @property
    def originals(self) -> int:
        """How many devices the server had before the rescue."""
        return sum(row.before is not None for row in self.rows)

    def faults(self, image: str = "rescue") -> Iterator[str]:
        """Yield everything that went wrong.

        :param image: the image that the rescue guest should have booted from
        """
        if self.moved:
            yield f"{self.moved} of the server's devices moved"
        if self.rescued.image != image:
            yield f"the rescue guest booted from the image {self.rescued.image!r}"
        booted, added = self.rescued.boot_disk, compare(self.before, self.rescued)
        if booted not in added.appeared:
            disk = place(booted) if booted else "an unknown disk"
            yield f"the rescue guest booted from {disk}, not from the rescue disk"
        count = sum(device.kind == "disk" for device in added.appeared)
        if count != 1:
            yield f"the rescue guest has {count} new disks, not one"
        if self.after.image != "original":
            yield f"after unrescue the guest booted from the image {self.after.image!r}"
        if compare(self.before, self.after).appeared:
            yield "after unrescue the guest has a device that it did not have before"

    def lines(self, color: bool) -> Iterator[str]:
        """Yield the table by row; devices that moved are red, or say MOVED."""
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
            if moved and not color:
                line += "  MOVED"
            yield f"{_RED}{line}{_PLAIN}" if moved and color else line
