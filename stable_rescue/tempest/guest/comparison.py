# SPDX-License-Identifier: Apache-2.0
"""Compares two inventories: what moved, was renamed, appeared or vanished."""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence

from stable_rescue import changes
from stable_rescue.tempest.guest.inventory import Device, Inventory

_Key = Callable[[Device], Hashable]

#: How devices of a kind are known again, best first. A key of None or "" says
#: nothing; one that several devices share is passed over. Where nothing tells two
#: devices apart, those at an unchanged address are taken to be the same.
_KEYS: dict[str, tuple[_Key, ...]] = {
    "disk": (
        lambda d: d.serial,
        lambda d: (d.content, d.label, d.size) if d.label else None,
        lambda d: (d.content, d.label) if d.label else None,
        lambda d: (d.signature, d.size) if d.signature else None,
        lambda d: (d.content, d.size, d.is_cdrom) if d.content else None,
        lambda d: (d.size, d.is_cdrom),
        lambda d: (d.size, d.content, d.address),
    ),
    "nic": (lambda d: d.mac,),
    "usb": (lambda d: (d.ids, d.serial), lambda d: d.ids, lambda d: (d.ids, d.address)),
    "pci": (lambda d: d.address,),
}


Change = changes.Change[Device]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """All devices of two inventories, each once."""

    changes: tuple[Change, ...]

    @property
    def originals(self) -> tuple[Change, ...]:
        """The devices that were there before."""
        return tuple(change for change in self.changes if not change.appeared)

    @property
    def appeared(self) -> tuple[Device, ...]:
        """The devices that were not there before."""
        return tuple(c.after for c in self.changes if c.appeared and c.after)

    @property
    def disturbed(self) -> tuple[Change, ...]:
        """The devices that moved, were renamed or vanished."""
        return tuple(change for change in self.changes if change.disturbed)

    def __str__(self) -> str:
        lines = [f"moved: {len(self.disturbed)} of {len(self.originals)}"]
        for change in self.disturbed:
            before, after = change.before, change.after
            lines.append(
                f"  {title(change.device)}: {before and place(before)}"
                f" -> {after and place(after)}"
            )
        return "\n".join(lines)


def compare(before: Inventory, after: Inventory) -> Comparison:
    """Return what became of each device of `before`, and what is new.

    A PCI function that is a disk or a NIC and nothing else is counted with it.
    """
    found: list[Change] = []
    for kind in ("disk", "nic", "usb"):
        found += _match(kind, before.of_kind(kind), after.of_kind(kind))
    # Functions have no identity but what they are: equal ones are told apart by
    # address alone, and any left over on both sides have moved.
    old, new = _by_identity(before), _by_identity(after)
    for identity in sorted(old.keys() | new.keys()):
        found += _match("pci", old[identity], new[identity])
    order = {kind: rank for rank, kind in enumerate(_KEYS)}
    found.sort(key=lambda c: (c.appeared, order[c.device.kind], c.device.address))
    return Comparison(tuple(found))


def title(device: Device) -> str:
    """Return a few words that tell a person which device this is."""
    match device.kind:
        case "disk":
            what = "cdrom" if device.is_cdrom else "disk"
            told = device.label or device.content
            if device.serial:
                told = f"{told} serial {device.serial[:12]}".strip()
            size = f"{device.size / 2**20:.0f} MiB" if device.size else "empty"
            return f"{what} {size} {told}".strip()
        case "nic":
            return f"nic {device.mac}"
        case "usb":
            return f"usb {device.product or device.ids}"
        case _:
            return f"pci {device.ids} {_CLASSES.get(device.pci_class[:4], '')}".strip()


def place(device: Device) -> str:
    """Return address and name, for a person."""
    return f"{device.address} {device.name}".strip()


_CLASSES = {
    "00ff": "virtio",
    "0100": "scsi",
    "0101": "ide",
    "0106": "sata",
    "0200": "network",
    "0300": "display",
    "0500": "memory",
    "0600": "host bridge",
    "0601": "isa bridge",
    "0604": "pci bridge",
    "0680": "bridge",
    "0c03": "usb",
    "0c05": "smbus",
}


def _match(
    kind: str, before: Sequence[Device], after: Sequence[Device]
) -> list[Change]:
    old, new = list(before), list(after)
    pairs: list[tuple[Device, Device]] = []
    for key in _KEYS[kind]:
        olds, news = _unique(old, key), _unique(new, key)
        for value in olds.keys() & news.keys():
            pairs.append((olds[value], news[value]))
            old.remove(olds[value])
            new.remove(news[value])
    if kind == "pci":
        left = min(len(old), len(new))
        pairs += zip(old[:left], new[:left], strict=True)
        del old[:left], new[:left]
    return [
        *(Change(one, other) for one, other in pairs),
        *(Change(one, None) for one in old),
        *(Change(None, other) for other in new),
    ]


def _unique(devices: Iterable[Device], key: _Key) -> dict[Hashable, Device]:
    """Return the devices whose key is theirs alone."""
    found: dict[Hashable, list[Device]] = defaultdict(list)
    for device in devices:
        if (value := key(device)) not in (None, ""):
            found[value].append(device)
    return {value: some[0] for value, some in found.items() if len(some) == 1}


def _by_identity(inventory: Inventory) -> dict[tuple[str, ...], list[Device]]:
    taken = {d.address for d in inventory.devices if d.kind in ("disk", "nic")}
    found: dict[tuple[str, ...], list[Device]] = defaultdict(list)
    for device in inventory.of_kind("pci"):
        if device.address not in taken:
            found[_function(device)].append(device)
    return found


def _function(device: Device) -> tuple[str, ...]:
    vendor, _, number = device.ids.partition(":")
    if vendor == "1af4" and number < "1040":
        # A virtio device on a conventional bus has other ids than the same one on
        # PCI Express, and tells its type as subsystem (virtio 1.2, 4.1.2.1).
        kind = int(device.subsystem.partition(":")[2], 16)
        return (f"1af4:{0x1040 + kind:04x}",)
    if vendor == "1af4":
        return (device.ids,)
    return device.ids, device.subsystem, device.pci_class
