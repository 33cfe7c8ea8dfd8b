# SPDX-License-Identifier: Apache-2.0
"""The servers of a host that has rebooted: what is wrong with each, and a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from lab.demo.marks import Reading
from stable_rescue.tempest.guest.comparison import compare
from stable_rescue.tempest.guest.inventory import Inventory

RESCUED, ACTIVE, STOPPED, PREPARING = "rescued", "active", "stopped", "preparing"
#: In the order in which they are booted.
NAMES = (RESCUED, ACTIVE, STOPPED, PREPARING)
ON, OFF = "on", "off"
ORIGINAL, RESCUE = "original", "rescue"
#: How long the rescue system may take to run again.
RESCUED_SECONDS = 60.0

_HEADINGS = (
    "server",
    "at the failure",
    "after the boot",
    "guest",
    "runs after",
    "at the end",
    "moved",
    "markers",
)


@dataclass
class Seen:
    """One server, before its host failed, after the boot, and at the end.

    A status has the task behind it, if the server has one: ``ACTIVE, rescuing``.
    """

    name: str
    #: The original guest, and the guest that ran last before the failure.
    before: Inventory
    last: Inventory
    at_failure: str = ""
    after_boot: str = ""
    #: Nova has a task for the server when its start has ended.
    has_task: bool = False
    has_record: bool = False
    running: bool = False
    #: From nova-compute's start until the guest's; None if the guest did not start.
    seconds: float | None = None
    #: The guest after the boot; None if none ran, or if it printed nothing.
    booted: Inventory | None = None
    at_end: str = ""
    #: The guest at the end, after unrescue or a start; None if there is none.
    final: Inventory | None = None
    #: What the scene could not do with the server.
    failures: list[str] = field(default_factory=list)

    @property
    def guest(self) -> str:
        """What ran after the boot: original, rescue, off, or silent if unknown."""
        if not self.running:
            return "off"
        return self.booted.image if self.booted else "silent"

    @property
    def guests(self) -> list[Inventory]:
        """The guests that booted since the failure, each once."""
        return [guest for guest in (self.booted, self.final) if guest]

    @property
    def moved(self) -> int:
        """How many of the server's devices moved, in the guest with the most."""
        counts = (
            sum(change.disturbed for change in compare(self.before, guest).originals)
            for guest in self.guests
        )
        return max(counts, default=0)

    @property
    def readings(self) -> list[Reading]:
        """The markers of each guest, as the next guest has read them."""
        readings, writer = [], self.last
        for reader in self.guests:
            if reader.boot_id != writer.boot_id:
                readings.append(Reading(writer, reader, self.before))
                writer = reader
        return readings

    def row(self) -> tuple[str, ...]:
        """Return the cells of this server's row, in the order of the headings."""
        devices = len(compare(self.before, self.before).originals)
        pairs = sum(len(reading.pairs) for reading in self.readings)
        kept = sum(reading.kept for reading in self.readings)
        return (
            self.name,
            self.at_failure,
            self.after_boot,
            self.guest,
            "-" if self.seconds is None else f"{self.seconds:.1f} s",
            f"{self.at_end}, {self.final.image}" if self.final else self.at_end,
            f"{self.moved} of {devices}" if self.guests else "-",
            f"{kept} of {pairs}" if pairs else "-",
        )

    def faults(self, resume: str) -> Iterator[str]:
        """Yield everything that is wrong.

        :param resume: ON if Nova starts the guests that ran when the host failed
        """
        for fault in (*self._after_boot(resume), *self._at_end(), *self.failures):
            yield f"{self.name}: {fault}"

    def _after_boot(self, resume: str) -> Iterator[str]:
        # Without resume, Nova leaves a guest off, and later gives its server SHUTOFF.
        usual = {"ACTIVE"} if resume == ON else {"ACTIVE", "SHUTOFF"}
        statuses = {RESCUED: {"RESCUE"}, STOPPED: {"SHUTOFF"}}.get(self.name, usual)
        if self.has_task or self.after_boot not in statuses:
            yield f"the status after the boot is {self.after_boot}"
        wanted = ORIGINAL if resume == ON else "off"
        wanted = {RESCUED: RESCUE, STOPPED: "off"}.get(self.name, wanted)
        if self.guest != wanted:
            yield f"the guest after the boot is {self.guest}, not {wanted}"
        if self.name == RESCUED and (self.seconds or 0) > RESCUED_SECONDS:
            yield f"the guest ran after {self.seconds:.1f} s"
        if self.has_record and self.name != RESCUED:
            yield "the record of a rescue is left after the boot"

    def _at_end(self) -> Iterator[str]:
        if self.final is None:
            yield "no guest ran at the end"
        elif (self.at_end, self.final.image) != ("ACTIVE", ORIGINAL):
            yield f"the guest at the end is {self.final.image}, status {self.at_end}"
        if self.moved:
            yield f"{self.moved} devices moved"
        for reading in self.readings:
            yield from reading.faults()


def table(rows: Iterable[Seen]) -> Iterator[str]:
    """Yield the lines of a table with a row for each server."""
    lines = [_HEADINGS, *(seen.row() for seen in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for cells in lines:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        yield "  ".join(padded).rstrip()


def left_over(before: Iterable[str], after: Iterable[str]) -> list[str]:
    """Return what only the second listing has.

    Loop devices have other numbers after a boot, so they are only counted.
    """
    return sorted(_counted(after) - _counted(before))


def _counted(resources: Iterable[str]) -> set[str]:
    counted, devices = set(), 0
    for resource in resources:
        if resource.startswith("loop device"):
            devices += 1
            resource = f"loop device number {devices}"
        counted.add(resource)
    return counted
