# SPDX-License-Identifier: Apache-2.0
"""A plan as text for people: devices, edits, comparison and findings."""

from collections.abc import Iterable, Sequence

from stable_rescue.domain import compare, machine
from stable_rescue.domain.compare import Device
from stable_rescue.plan import RescuePlan

# The kinds of device that are listed first, because they matter most to the server's
# owner, and last. The others follow the order of the definition.
_FIRST = ("disk", "interface", "hostdev", "filesystem")
_LAST = ("controller",)


def of_plan(plan: RescuePlan) -> str:
    """Return a plan as lines of text."""
    original = plan.original
    kind = original.root.find("os/type")
    machine_type = "" if kind is None else kind.get("machine", "")
    firmware = "UEFI" if machine.is_uefi(original) else "BIOS"
    name = (original.root.findtext("name") or "").strip()
    comparison = compare.compare(original, plan.rescue)
    lines = [
        f"Server    {name}, {original.uuid}",
        f"Machine   {machine_type}, {firmware}",
        f"Rescue    {plan.device} on {plan.bus}",
        "",
        "Devices in the rescue",
        *lines_of(("device", "target", "address", "source"), _devices(comparison)),
        "",
        "Edits",
        *lines_of(("what", "rule"), ((edit.what, edit.rule) for edit in plan.edits)),
        "",
        "Comparison with the rescue definition",
        *(f"  {line}" for line in str(comparison).splitlines()),
        "",
        "Findings",
        *(f"  {finding}" for finding in plan.findings or ("none",)),
    ]
    return "\n".join(lines) + "\n"


def _devices(comparison: compare.Comparison) -> list[tuple[str, str, str, str]]:
    """Return the server's devices, then those that the rescue adds, marked with +."""
    originals = [change.device for change in comparison.originals]
    return [
        *(_row(device) for device in sorted(originals, key=rank_of)),
        *(_row(device, "+ ") for device in comparison.appeared),
    ]


def _row(device: Device, mark: str = "") -> tuple[str, str, str, str]:
    return mark + title_of(device), device.target, device.address, device.source


def rank_of(device: Device) -> int:
    """Return the place of a device in a list for people; the lowest comes first."""
    if device.kind in _FIRST:
        return _FIRST.index(device.kind)
    return len(_FIRST) + (device.kind in _LAST)


def title_of(device: Device) -> str:
    """Return what a device is called in a list for people."""
    if device.kind == "disk":
        return device.facts.get("@device", "disk")
    return " ".join((device.kind, *filter(None, device.identity)))


def lines_of(
    head: Sequence[str], rows: Iterable[Sequence[str]], indent: str = "  "
) -> list[str]:
    """Return the rows under a heading, aligned in columns."""
    lines = [tuple(head), *(tuple(map(printable, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [indent + "  ".join(map(str.ljust, each, widths)).rstrip() for each in lines]


def printable(text: str) -> str:
    """Return a text on one line, without characters that control a terminal."""
    words = " ".join(text.split())
    return "".join(each if each.isprintable() else "?" for each in words)
