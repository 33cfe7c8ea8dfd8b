# SPDX-License-Identifier: Apache-2.0
"""A plan for people: what the server has, what would be done to it, what to know."""

from collections.abc import Iterable, Sequence

from stable_rescue.domain import compare, machine
from stable_rescue.domain.compare import Device
from stable_rescue.domain.document import Domain
from stable_rescue.plan import RescuePlan

# What a guest's owner asks about first; all else follows in the definition's order.
_FIRST = ("disk", "interface", "hostdev", "filesystem")
_LAST = ("controller",)


def of_plan(made: RescuePlan) -> str:
    """Return a plan as lines of text."""
    kind = made.original.root.find("os/type")
    machine_type = "" if kind is None else kind.get("machine", "")
    firmware = "UEFI" if machine.is_uefi(made.original) else "BIOS"
    name = (made.original.root.findtext("name") or "").strip()
    lines = [
        f"Server    {name}, {made.original.uuid}",
        f"Machine   {machine_type}, {firmware}",
        f"Rescue    {made.device} on {made.bus}",
        "",
        "Devices of the server",
        *_table(("device", "target", "address", "source"), _devices(made.original)),
        "",
        "Edits",
        *_table(("what", "rule"), ((edit.what, edit.rule) for edit in made.edits)),
        "",
        "Compared with the rescue definition",
        *(f"  {line}" for line in str(_judged(made)).splitlines()),
        "",
        "Findings",
        *(f"  {finding}" for finding in made.findings or ("none",)),
    ]
    return "\n".join(lines) + "\n"


def _judged(made: RescuePlan) -> compare.Comparison:
    return compare.compare(made.original, made.rescue)


def _devices(domain: Domain) -> list[tuple[str, str, str, str]]:
    found = [d for d in compare.devices_of(domain) if d.address or d.name]
    return [
        (_title(device), device.target, device.address, device.source)
        for device in sorted(found, key=_rank)
    ]


def _rank(device: Device) -> int:
    if device.kind in _FIRST:
        return _FIRST.index(device.kind)
    return len(_FIRST) + (device.kind in _LAST)


def _title(device: Device) -> str:
    if device.kind == "disk":
        return device.facts.get("@device", "disk")
    return " ".join((device.kind, *filter(None, device.identity)))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return rows under a head, indented, in columns as wide as they must be."""
    every = [tuple(head), *(tuple(" ".join(c.split()) for c in row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*every, strict=True)]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in every]
