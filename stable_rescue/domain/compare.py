# SPDX-License-Identifier: Apache-2.0
"""An independent comparison of two definitions: what moved, appeared or vanished.

This module judges the edits and the invariants, so it shares no code with them. What
guests see is compared in the same terms (``tempest.guest.comparison``).
"""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field

from lxml import etree

from stable_rescue import changes
from stable_rescue.domain.document import Domain

# The attributes of <address> that are the place. Others (multifunction) are content.
_PLACE = (
    *("type", "domain", "bus", "slot", "function", "controller", "target", "unit"),
    *("port", "reg", "iobase", "irq", "cssid", "ssid", "devno", "base"),
)
# The attributes that identify a source as the same medium or backend.
_SOURCE = ("protocol", "file", "dev", "dir", "pool", "volume", "name", "path", "uuid")

# The kinds of device whose <target> is a name, and the attributes of that name.
_NAMED = ("disk", "interface", "filesystem")
_TARGET = ("dev", "bus", "dir")

# The text and the attributes in an element, by path.
_Facts = dict[str, str]


@dataclass(frozen=True)
class Device:
    """One device of a definition; fields that its kind does not have are empty.

    ``kind`` is the element's tag, ``name`` the target (vda, tap1). ``identity`` is what
    stays the same wherever the device sits, such as the MAC address of a NIC.
    """

    kind: str
    identity: tuple[str, ...]
    name: str = ""
    bus: str = ""
    address: str = ""
    source: str = ""
    facts: _Facts = field(default_factory=dict, compare=False, repr=False)

    def __str__(self) -> str:
        known_as = self.name or " ".join(part for part in self.identity if part)
        return f"{self.kind} {known_as}".strip()

    @property
    def named(self) -> bool:
        """Return True if its kind is matched by source or target, not by address."""
        return self.kind in _NAMED

    @property
    def target(self) -> str:
        """Return name and bus, for a person."""
        return f"{self.name} on {self.bus}" if self.bus else self.name


class Change(changes.Change[Device]):
    """One device before and after; one of the two may be missing."""

    @property
    def renamed(self) -> bool:
        """Return True if its target differs: the name, or the bus of a disk."""
        return self._differs(lambda device: (device.name, device.bus))

    @property
    def changed(self) -> tuple[str, ...]:
        """Return the paths of all other differences; values may be secret."""
        if self.before is None or self.after is None:
            return ()
        return _differences(self.before.facts, self.after.facts)


@dataclass(frozen=True)
class Comparison:
    """Each device of two definitions once, and the differences outside the devices.

    ``rest`` has the paths outside the devices with different content, such as os/boot;
    ``rest_removed`` has the ones that the second definition lacks.
    """

    changes: tuple[Change, ...]
    rest: tuple[str, ...] = ()
    rest_removed: tuple[str, ...] = ()

    @property
    def originals(self) -> tuple[Change, ...]:
        """Return the devices of the first definition."""
        return tuple(change for change in self.changes if not change.appeared)

    @property
    def appeared(self) -> tuple[Device, ...]:
        """Return the devices that only the second definition has."""
        return tuple(c.after for c in self.changes if c.appeared and c.after)

    @property
    def vanished(self) -> tuple[Device, ...]:
        """Return the devices that only the first definition has."""
        return tuple(c.before for c in self.changes if c.vanished and c.before)

    @property
    def moved(self) -> tuple[Change, ...]:
        """Return the devices with another address."""
        return tuple(change for change in self.changes if change.moved)

    @property
    def renamed(self) -> tuple[Change, ...]:
        """Return the devices with another target."""
        return tuple(change for change in self.changes if change.renamed)

    @property
    def changed(self) -> tuple[Change, ...]:
        """Return the devices that differ in anything else."""
        return tuple(change for change in self.changes if change.changed)

    @property
    def disturbed(self) -> tuple[Change, ...]:
        """Return the devices that moved, were renamed or vanished."""
        return tuple(change for change in self.changes if change.disturbed)

    def __str__(self) -> str:
        lines = [f"moved: {len(self.disturbed)} of {len(self.originals)}"]
        for change in self.changes:
            place = _describe(change)
            if place:
                lines.append(f"  {change.device}: {place}")
            if change.changed:
                lines.append(f"  {change.device}: changed {', '.join(change.changed)}")
        kept = [path for path in self.rest if path not in self.rest_removed]
        for what, paths in (("removed", self.rest_removed), ("changed", kept)):
            if paths:
                lines.append(f"  outside the devices: {what} {', '.join(paths)}")
        return "\n".join(lines)


def compare(before: Domain, after: Domain) -> Comparison:
    """Compare two definitions of one server, device by device.

    Devices are matched by what they are: a disk by its source, a NIC by its MAC
    address. Among devices that are alike, those with the same address are matched.
    """
    old, new = _rest_of(before), _rest_of(after)
    rest = _differences(old, new)
    return Comparison(
        tuple(_match(devices_of(before), devices_of(after))),
        rest,
        tuple(path for path in rest if path not in new),
    )


def devices_of(domain: Domain) -> tuple[Device, ...]:
    """Return the devices of a definition, in order.

    A USB controller or a balloon of model none stands for no device and is left out.
    """
    return tuple(
        device_of(child)
        for child in domain.each_device()
        if child.get("model") != "none"
    )


# The keys by which devices are matched, best first. None means: not by this key.
_KEYS: tuple[Callable[[Device], Hashable], ...] = (
    lambda d: (d.kind, d.identity, d.source, d.name, d.bus, d.address),
    lambda d: (d.kind, d.identity, d.source) if d.source else None,
    lambda d: (d.kind, d.facts["serial"]) if d.facts.get("serial") else None,
    lambda d: (d.kind, d.identity, d.name, d.bus) if d.name else None,
    # Devices without source and target: by identity and address, then by each alone.
    lambda d: (d.kind, d.identity, d.address) if not d.named else None,
    lambda d: (d.kind, d.identity) if not d.named else None,
    lambda d: (d.kind, d.identity[:2]) if d.kind == "controller" else None,
    lambda d: (d.kind, d.address) if d.address and not d.named else None,
)


def _match(before: Iterable[Device], after: Iterable[Device]) -> list[Change]:
    """Pair the devices of two definitions; equal keys are paired in order."""
    old, new = dict(enumerate(before)), dict(enumerate(after))
    pairs: dict[int, Change] = {}
    for key_of in _KEYS:
        candidates: dict[Hashable, deque[int]] = defaultdict(deque)
        for position, device in new.items():
            candidates[key_of(device)].append(position)
        for position, device in list(old.items()):
            key = key_of(device)
            if key is not None and candidates[key]:
                matched = candidates[key].popleft()
                pairs[position] = Change(old.pop(position), new.pop(matched))
    pairs |= {position: Change(device, None) for position, device in old.items()}
    appeared = [Change(None, device) for device in new.values()]
    return [pairs[position] for position in sorted(pairs)] + appeared


def device_of(element: etree._Element) -> Device:
    """Return the device that an element of <devices> describes."""
    kind = str(element.tag)
    target = element.find("target") if kind in _NAMED else None
    source = element.find("source")
    facts = _facts(element)
    for key in _PLACE:
        facts.pop(f"address@{key}", None)
    for key in _TARGET if kind in _NAMED else ():
        facts.pop(f"target@{key}", None)
    return Device(
        kind,
        _identity(element, facts),
        "" if target is None else target.get("dev", target.get("dir", "")),
        "" if target is None else target.get("bus", ""),
        _address(element.find("address")),
        "" if source is None else _source(source),
        facts,
    )


def _identity(element: etree._Element, facts: _Facts) -> tuple[str, ...]:
    match element.tag:
        case "disk":
            return ()
        case "interface":
            return (facts.get("mac@address", "").lower(),)
        case "hostdev":
            paths = sorted(path for path in facts if path.startswith("source"))
            return tuple(facts[path] for path in paths if facts[path])
        case _:
            keys = ("type", "index", "model", "bus", "id", "mode")
            return tuple(element.get(key, "") for key in keys)


def _address(address: etree._Element | None) -> str:
    """Return an address in one notation, whatever the notation of the element."""
    if address is None:
        return ""
    parts = {k: _number(v) for k, v in address.attrib.items() if k in _PLACE}
    kind = parts.pop("type", "")
    if kind == "pci":
        domain, bus, slot, function = (
            _hexadecimal(parts.get(key, 0), width)
            for key, width in (("domain", 4), ("bus", 2), ("slot", 2), ("function", 1))
        )
        return f"pci {domain}:{bus}:{slot}.{function}"
    if kind == "drive":
        keys = ("controller", "bus", "target", "unit")
        return "drive " + ":".join(str(parts.get(key, 0)) for key in keys)
    texts = (f"{key}={value}" for key, value in sorted(parts.items()))
    return " ".join((str(kind), *texts))


def _number(text: str) -> int | str:
    try:
        return int(text, 0)
    except ValueError:
        return text


def _hexadecimal(value: int | str, width: int) -> str:
    return f"{value:0{width}x}" if isinstance(value, int) else value


def _source(source: etree._Element) -> str:
    return "/".join(source.get(key, "") for key in _SOURCE if source.get(key))


def _rest_of(domain: Domain) -> _Facts:
    """Return the facts of a definition outside its devices."""
    rest = _facts(domain.root, without="devices")
    return {path: value for path, value in rest.items() if path}


def _facts(element: etree._Element, without: str = "") -> _Facts:
    """Return each text and attribute in an element by its path.

    As in libvirt, the order of children only counts among those with the same tag.

    :param without: the tag of a child to leave out
    """
    facts: _Facts = {}
    pending = [(element, "")]
    while pending:
        current, path = pending.pop()
        # White space that indents the children is not content.
        text = (current.text or "", *(child.tail or "" for child in current))
        facts[path] = " ".join("".join(text).split())
        facts |= {f"{path}@{key}": value for key, value in current.attrib.items()}
        times: Counter[str] = Counter()
        for child in current:
            tag = child.tag if isinstance(child.tag, str) else "comment"
            if tag == without and current is element:
                continue
            times[tag] += 1
            step = tag if times[tag] == 1 else f"{tag}[{times[tag]}]"
            pending.append((child, f"{path}/{step}" if path else step))
    return facts


def _differences(before: _Facts, after: _Facts) -> tuple[str, ...]:
    """Return the paths at which two sets of facts differ."""
    paths = before.keys() | after.keys()
    return tuple(sorted(p for p in paths if before.get(p) != after.get(p)))


def _describe(change: Change) -> str:
    """Return what happened to a device's place, for a person; empty if nothing."""
    before, after = _place(change.before), _place(change.after)
    if change.appeared:
        return f"added at {after}" if after else "added"
    if change.vanished:
        return f"removed from {before}" if before else "removed"
    if change.disturbed:
        return f"{before or 'no address'} -> {after or 'no address'}"
    return ""


def _place(device: Device | None) -> str:
    """Return target and address of a device, for a person."""
    if device is None:
        return ""
    return " ".join(part for part in (device.target, device.address) if part)
