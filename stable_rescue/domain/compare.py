# SPDX-License-Identifier: Apache-2.0
"""An independent comparison of two definitions: what moved, appeared, vanished.

It shares no code with what edits a definition or checks the result, so that it can
judge them; its words are those of the comparison of guests.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field

from lxml import etree

from stable_rescue import changes
from stable_rescue.domain.document import Domain

# An <address> says where a device sits; what else it says (multifunction) is content.
_PLACE = (
    *("type", "domain", "bus", "slot", "function", "controller", "target", "unit"),
    *("port", "reg", "iobase", "irq", "cssid", "ssid", "devno", "base"),
)
# What tells that a source is the same medium or backend, if it is there.
_SOURCE = ("protocol", "file", "dev", "dir", "pool", "volume", "name", "path", "uuid")

# The devices whose <target> is a name of their own, and what it says of it.
_NAMED = ("disk", "interface", "filesystem")
_TARGET = ("dev", "bus", "dir")

# What stands at each path in an element: its text, or an attribute's value.
_Facts = dict[str, str]


@dataclass(frozen=True)
class Device:
    """One device of a definition; what does not apply to its kind is empty."""

    kind: str  # its tag
    identity: tuple[str, ...]  # what it is, whatever its place: a NIC's MAC
    name: str = ""  # the target: vda, tap1
    bus: str = ""
    address: str = ""
    source: str = ""
    facts: _Facts = field(default_factory=dict, compare=False, repr=False)

    def __str__(self) -> str:
        known = self.name or " ".join(part for part in self.identity if part)
        return f"{self.kind} {known}".strip()

    @property
    def named(self) -> bool:
        """Whether its kind is known again by source or target, and not by place."""
        return self.kind in _NAMED

    @property
    def target(self) -> str:
        """Name and bus, for a person."""
        return f"{self.name} on {self.bus}" if self.bus else self.name


class Change(changes.Change[Device]):
    """One device before and after; one of the two may be missing."""

    @property
    def renamed(self) -> bool:
        """Whether its target is another one: its name, or the bus of a disk."""
        return self._differs(lambda device: (device.name, device.bus))

    @property
    def changed(self) -> tuple[str, ...]:
        """What else is not as it was, as paths in the device; values are not told."""
        if self.before is None or self.after is None:
            return ()
        return _differences(self.before.facts, self.after.facts)


@dataclass(frozen=True)
class Comparison:
    """All devices of two definitions, each once, and what differs outside them."""

    changes: tuple[Change, ...]
    #: Paths outside the devices whose content is not as it was, such as os/boot.
    rest: tuple[str, ...] = ()

    @property
    def originals(self) -> tuple[Change, ...]:
        """The devices that were there before."""
        return tuple(change for change in self.changes if not change.appeared)

    @property
    def appeared(self) -> tuple[Device, ...]:
        """The devices that were not there before."""
        return tuple(c.after for c in self.changes if c.appeared and c.after)

    @property
    def vanished(self) -> tuple[Device, ...]:
        """The devices that are not there any more."""
        return tuple(c.before for c in self.changes if c.vanished and c.before)

    @property
    def moved(self) -> tuple[Change, ...]:
        """The devices at another address."""
        return tuple(change for change in self.changes if change.moved)

    @property
    def renamed(self) -> tuple[Change, ...]:
        """The devices with another target."""
        return tuple(change for change in self.changes if change.renamed)

    @property
    def changed(self) -> tuple[Change, ...]:
        """The devices of which something else is not as it was."""
        return tuple(change for change in self.changes if change.changed)

    @property
    def disturbed(self) -> tuple[Change, ...]:
        """The devices that moved, were renamed or vanished."""
        return tuple(change for change in self.changes if change.disturbed)

    def __str__(self) -> str:
        lines = [f"moved: {len(self.disturbed)} of {len(self.originals)}"]
        for change in self.changes:
            before, after = _place(change.before), _place(change.after)
            if change.disturbed or change.appeared:
                lines.append(f"  {change.device}: {before} -> {after}")
            if change.changed:
                lines.append(f"  {change.device}: changed {', '.join(change.changed)}")
        if self.rest:
            lines.append(f"  outside the devices: changed {', '.join(self.rest)}")
        return "\n".join(lines)


def compare(before: Domain, after: Domain) -> Comparison:
    """Return what became of each device of `before`, what is new, and the rest.

    A device is known again by what it is, not by where it is: a disk by its source,
    a NIC by its MAC. Of those that nothing tells apart, one at an unchanged address
    is taken to be the same.
    """
    return Comparison(
        tuple(_match(devices_of(before), devices_of(after))),
        _differences(_rest_of(before), _rest_of(after)),
    )


def devices_of(domain: Domain) -> tuple[Device, ...]:
    """Return the devices of a definition, in its order.

    Model none (of USB, of a balloon) says that there is no such device.
    """
    return tuple(
        _device(child) for child in domain.each_device() if child.get("model") != "none"
    )


# How devices are known again, best first. A key of None says nothing.
_KEYS: tuple[Callable[[Device], Hashable], ...] = (
    lambda d: (d.kind, d.identity, d.source, d.name, d.bus, d.address),
    lambda d: (d.kind, d.identity, d.source) if d.source else None,
    lambda d: (d.kind, d.facts["serial"]) if d.facts.get("serial") else None,
    lambda d: (d.kind, d.identity, d.name, d.bus) if d.name else None,
    # What has neither source nor target: by its model and address, then by each.
    lambda d: (d.kind, d.identity, d.address) if not d.named else None,
    lambda d: (d.kind, d.identity) if not d.named else None,
    lambda d: (d.kind, d.identity[:2]) if d.kind == "controller" else None,
    lambda d: (d.kind, d.address) if d.address and not d.named else None,
)


def _match(before: Iterable[Device], after: Iterable[Device]) -> list[Change]:
    """Pair the devices of two definitions, those that are alike in their order."""
    old, new = dict(enumerate(before)), dict(enumerate(after))
    pairs: dict[int, Change] = {}
    for key in _KEYS:
        waiting: dict[Hashable, deque[int]] = defaultdict(deque)
        for place, device in new.items():
            waiting[key(device)].append(place)
        for place, device in list(old.items()):
            known = key(device)
            if known is not None and waiting[known]:
                found = waiting[known].popleft()
                pairs[place] = Change(old.pop(place), new.pop(found))
    pairs |= {place: Change(device, None) for place, device in old.items()}
    appeared = [Change(None, device) for device in new.values()]
    return [pairs[place] for place in sorted(pairs)] + appeared


def _device(element: etree._Element) -> Device:
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
            own = sorted(path for path in facts if path.startswith("source"))
            return tuple(facts[path] for path in own if facts[path])
        case _:
            keys = ("type", "index", "model", "bus", "id", "mode")
            return tuple(element.get(key, "") for key in keys)


def _address(address: etree._Element | None) -> str:
    """Return an address in one way of writing, however it was written."""
    if address is None:
        return ""
    has = {k: _number(v) for k, v in address.attrib.items() if k in _PLACE}
    kind = has.pop("type", "")
    if kind == "pci":
        domain, bus, slot, function = (
            _hexadecimal(has.get(key, 0), width)
            for key, width in (("domain", 4), ("bus", 2), ("slot", 2), ("function", 1))
        )
        return f"pci {domain}:{bus}:{slot}.{function}"
    if kind == "drive":
        keys = ("controller", "bus", "target", "unit")
        return "drive " + ":".join(str(has.get(key, 0)) for key in keys)
    parts = (f"{key}={value}" for key, value in sorted(has.items()))
    return " ".join((str(kind), *parts))


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
    """Return all that a definition says outside its devices."""
    rest = _facts(domain.root, leave="devices")
    return {path: value for path, value in rest.items() if path}


def _facts(element: etree._Element, leave: str = "") -> _Facts:
    """Return each text and attribute in an element by its path.

    The order of children counts among those of one name only, as with libvirt.

    :param leave: the tag of a child that is left out
    """
    facts: _Facts = {}
    waiting = [(element, "")]
    while waiting:
        found, path = waiting.pop()
        # The white space that indents children says nothing.
        text = (found.text or "", *(child.tail or "" for child in found))
        facts[path] = " ".join("".join(text).split())
        facts |= {f"{path}@{key}": value for key, value in found.attrib.items()}
        times: Counter[str] = Counter()
        for child in found:
            name = child.tag if isinstance(child.tag, str) else "comment"
            if name == leave and found is element:
                continue
            times[name] += 1
            known = name if times[name] == 1 else f"{name}[{times[name]}]"
            waiting.append((child, f"{path}/{known}" if path else known))
    return facts


def _differences(before: _Facts, after: _Facts) -> tuple[str, ...]:
    """Return the paths at which two differ."""
    paths = before.keys() | after.keys()
    return tuple(sorted(p for p in paths if before.get(p) != after.get(p)))


def _place(device: Device | None) -> str:
    if device is None:
        return "nothing"
    return " ".join(part for part in (device.target, device.address) if part) or "there"
