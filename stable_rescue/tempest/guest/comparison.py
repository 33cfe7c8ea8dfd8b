# SPDX-License-Identifier: Apache-2.0
"""Compare two inventories: which devices moved, were renamed, appeared or vanished."""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence

from stable_rescue import changes
from stable_rescue.tempest.guest.inventory import Device, Inventory

Change = changes.Change[Device]

_Key = Callable[[Device], Hashable]
#: What a PCI function is, apart from its address.
_Identity = tuple[str, ...]

#: The keys that match the devices of two inventories, by kind; the best key first. A
#: key is used only if it is not None or "" and no other device has the same. If only
#: the address distinguishes two devices, those at the same address match.
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

_PCI_CLASSES = {
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


@dataclasses.dataclass(frozen=True)
class Comparison:
    """All devices of two inventories, each once."""

    changes: tuple[Change, ...]

    @property
    def originals(self) -> tuple[Change, ...]:
        """The devices of the first inventory."""
        return tuple(change for change in self.changes if not change.appeared)

    @property
    def appeared(self) -> tuple[Device, ...]:
        """The devices that only the second inventory has."""
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
    """Return what happened to each device of ``before``, and the new devices.

    A PCI function that is a disk or a NIC counts once, as that disk or NIC.
    """
    matched: list[Change] = []
    for kind in ("disk", "nic", "usb"):
        matched += _match(kind, before.of_kind(kind), after.of_kind(kind))
    # Only the address distinguishes PCI functions of the same identity. Those that no
    # address matches are paired in order, and count as moved.
    old, new = _functions(before), _functions(after)
    for identity in sorted(old.keys() | new.keys()):
        matched += _match("pci", old[identity], new[identity])
    rank = {kind: number for number, kind in enumerate(_KEYS)}
    matched.sort(key=lambda c: (c.appeared, rank[c.device.kind], c.device.address))
    return Comparison(tuple(matched))


def title(device: Device) -> str:
    """Return a short description of a device, for people."""
    match device.kind:
        case "disk":
            drive = "cdrom" if device.is_cdrom else "disk"
            size = f"{device.size / 2**20:.0f} MiB" if device.size else "empty"
            words = [drive, size, device.label or device.content]
            if device.serial:
                words.append(f"serial {device.serial[:12]}")
            return " ".join(word for word in words if word)
        case "nic":
            return f"nic {device.mac}"
        case "usb":
            return f"usb {device.product or device.ids}"
        case _:
            pci_class = _PCI_CLASSES.get(device.pci_class[:4], "")
            return f"pci {device.ids} {pci_class}".strip()


def place(device: Device) -> str:
    """Return the address and the name of a device, for people."""
    return f"{device.address} {device.name}".strip()


def _match(
    kind: str, before: Sequence[Device], after: Sequence[Device]
) -> list[Change]:
    old, new = list(before), list(after)
    pairs: list[tuple[Device, Device]] = []
    for key in _KEYS[kind]:
        old_by_key, new_by_key = _by_unique(key, old), _by_unique(key, new)
        for value in old_by_key.keys() & new_by_key.keys():
            pairs.append((old_by_key[value], new_by_key[value]))
            old.remove(old_by_key[value])
            new.remove(new_by_key[value])
    if kind == "pci":
        rest = min(len(old), len(new))
        pairs += zip(old[:rest], new[:rest], strict=True)
        del old[:rest], new[:rest]
    return [
        *(Change(was, now) for was, now in pairs),
        *(Change(vanished, None) for vanished in old),
        *(Change(None, appeared) for appeared in new),
    ]


def _by_unique(key: _Key, devices: Iterable[Device]) -> dict[Hashable, Device]:
    """Return the devices by their key, without those that share a key or have none."""
    by_key: dict[Hashable, list[Device]] = defaultdict(list)
    for device in devices:
        if (value := key(device)) not in (None, ""):
            by_key[value].append(device)
    return {value: same[0] for value, same in by_key.items() if len(same) == 1}


def _functions(inventory: Inventory) -> dict[_Identity, list[Device]]:
    """Return the PCI functions that are neither a disk nor a NIC, by identity."""
    counted = {d.address for d in inventory.devices if d.kind in ("disk", "nic")}
    functions: dict[_Identity, list[Device]] = defaultdict(list)
    for device in inventory.of_kind("pci"):
        if device.address not in counted:
            functions[_identity(device)].append(device)
    return functions


def _identity(function: Device) -> _Identity:
    vendor, _, number = function.ids.partition(":")
    if vendor != "1af4":
        return function.ids, function.subsystem, function.pci_class
    if number < "1040":
        # The same virtio device has a transitional id on a conventional bus and a
        # modern one on PCI Express. A transitional device has its type in the
        # subsystem id (virtio 1.2, 4.1.2.1).
        virtio_type = int(function.subsystem.partition(":")[2], 16)
        return (f"1af4:{0x1040 + virtio_type:04x}",)
    return (function.ids,)
