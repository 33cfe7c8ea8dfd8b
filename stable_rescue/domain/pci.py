# SPDX-License-Identifier: Apache-2.0
"""The last place on a machine's PCI buses.

A guest enumerates the devices of a bus first, by slot and function, and then what
lies behind each bridge of that bus, in the same order. A device at the end of that
order, added without a bus number given to another bridge, moves nothing and renames
nothing (LIBVIRT F7).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from lxml import etree

from stable_rescue import exception
from stable_rescue.domain import address, document, machine, passthrough
from stable_rescue.domain.address import Pci
from stable_rescue.domain.document import Domain

# What a slot's function 0 says where other functions may follow it.
_MULTIFUNCTION = "address[@multifunction='on']"
# 0x1f holds the ICH9 chipset's own functions, 0x01 the primary video device.
_Q35_SLOTS = range(0x02, 0x1F)
# 0x01 holds the PIIX3 chipset's own functions, 0x02 the primary video device.
_PC_SLOTS = range(0x03, 0x20)
# The slots whose function 0 is the chipset's own, and in no definition.
_CHIPSET_SLOTS = {
    machine.Family.PC: {0x00, 0x01},
    machine.Family.Q35: {0x00, 0x1F},
    machine.Family.VIRT: {0x00},
}
# Slot 0 of a pci-bridge is its own hot-plug controller's.
_CONVENTIONAL = ("pci-bridge", "pcie-to-pci-bridge")
_BRIDGE_SLOTS = range(0x01, 0x20)

# (0, devfn) for a device, (1, devfn) for what lies behind a bridge, bus by bus.
_Order = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Place:
    """A free place: its address, and the port to add where it needs a new one.

    In a gap: before the machine's last device.
    """

    address: Pci
    port: etree._Element | None = None
    in_gap: bool = False


class _Topology:
    """The PCI buses of a domain and what sits on them."""

    def __init__(self, domain: Domain) -> None:
        self.used: dict[int, set[tuple[int, int]]] = {}
        self.bridges: dict[int, tuple[str, Pci]] = {}
        self.last: _Order = ()
        self._multifunction: set[tuple[int, int]] = set()
        self._chassis: set[int] = set()
        self._next_index = domain.next_controller_index("pci")
        endpoints = []
        for device, place in address.addressed(domain.devices):
            if place.domain:
                continue  # a second PCI segment is never one that we add to
            self.used.setdefault(place.bus, set()).add((place.slot, place.function))
            if device.find(_MULTIFUNCTION) is not None:
                self._multifunction.add((place.bus, place.slot))
            if device.tag == "controller" and device.get("type") == "pci":
                self._add_bridge(device, place)
            else:
                endpoints.append(place)
        endpoints += self._take_passed_through(domain)
        self.last = max((self.order(place) for place in endpoints), default=())

    def _take_passed_through(self, domain: Domain) -> list[Pci]:
        """Leave the places of what QEMU is told past libvirt; return them."""
        occupied = {slot for slot, function in self.used.get(0, ()) if not function}
        chipset = _CHIPSET_SLOTS[machine.family_of(domain)]
        found = list(passthrough.places(domain, occupied, chipset))
        for place in found:
            self.used.setdefault(place.bus, set()).add((place.slot, place.function))
        return found

    def _add_bridge(self, controller: etree._Element, place: Pci) -> None:
        index = document.index_of(controller)
        self.bridges[index] = (controller.get("model", ""), place)
        target = controller.find("target[@chassis]")
        if target is not None:
            self._chassis.add(document.number(target.get("chassis"), "a chassis", 0))

    def order(self, place: Pci) -> _Order:
        """Return a device's position in the guest's enumeration, to compare by."""
        steps = [(0, place.slot, place.function)]
        bus, seen = place.bus, set[int]()
        while bus in self.bridges and bus not in seen:
            seen.add(bus)
            parent = self.bridges[bus][1]
            steps.append((1, parent.slot, parent.function))
            bus = parent.bus
        return tuple(reversed(steps))

    def free_ports(self) -> Iterator[Pci]:
        """Yield the one place behind each root port that holds nothing."""
        for index, (model, _place) in self.bridges.items():
            if model == "pcie-root-port" and index not in self.used:
                yield Pci(0, index, 0)

    def next_slots(self) -> Iterator[Pci]:
        """Yield the slot above the highest used one, on each conventional bus."""
        for bus, slots in self._conventional().items():
            above = 1 + max((slot for slot, _ in self.used.get(bus, ())), default=0)
            slot = max(above, slots.start)
            if slot in slots:
                yield Pci(0, bus, slot)

    def free_slots(self) -> Iterator[Pci]:
        """Yield every free slot of every conventional bus."""
        for bus, slots in self._conventional().items():
            taken = {slot for slot, _ in self.used.get(bus, ())}
            yield from (Pci(0, bus, slot) for slot in slots if slot not in taken)

    def _conventional(self) -> dict[int, range]:
        return {0: _PC_SLOTS} | {
            index: _BRIDGE_SLOTS
            for index, (model, _place) in self.bridges.items()
            if model in _CONVENTIONAL
        }

    def new_ports(self) -> list[Place]:
        """Return the first new root port above all bridges of bus 0, if any.

        Above all, because firmware numbers the buses behind bridges in this order.
        """
        taken = self.used.get(0, set())
        bridges = [p for _model, p in self.bridges.values() if p.bus == 0]
        highest = max(bridges, default=Pci(0, 0, _Q35_SLOTS.start - 1, 7))
        candidates = []
        if (0, highest.slot) in self._multifunction:
            candidates = [(highest.slot, f) for f in range(highest.function + 1, 8)]
        slots_taken = {slot for slot, _ in taken}
        candidates += [
            (slot, 0)
            for slot in _Q35_SLOTS
            if slot > highest.slot and slot not in slots_taken
        ]
        for slot, function in candidates:
            if (slot, function) not in taken:
                return [self._root_port(Pci(0, 0, slot, function))]
        return []

    def _root_port(self, place: Pci) -> Place:
        index = self._next_index
        chassis = index if index not in self._chassis else 1 + max(self._chassis)
        port = etree.Element(
            "controller", type="pci", index=str(index), model="pcie-root-port"
        )
        etree.SubElement(port, "model", name="pcie-root-port")
        etree.SubElement(
            port,
            "target",
            chassis=str(chassis),
            port=f"0x{place.slot << 3 | place.function:x}",
        )
        port.append(place.element())
        self.bridges[index] = ("pcie-root-port", place)
        return Place(Pci(0, index, 0), port)


def last_of(domain: Domain, devices: Iterable[etree._Element]) -> etree._Element | None:
    """Return that of some devices of a domain which its guest enumerates last."""
    several = list(devices)
    if len(several) < 2:
        return several[0] if several else None
    return max(several, key=_order_in(domain))


def behind(
    domain: Domain, device: etree._Element, others: Iterable[etree._Element]
) -> list[etree._Element]:
    """Return those of some devices which the guest enumerates behind one."""
    several = list(others)
    if not several:
        return []
    order = _order_in(domain)
    return [other for other in several if order(other) > order(device)]


def _order_in(domain: Domain) -> Callable[[etree._Element], _Order]:
    """Return what tells a device's position in a domain; what has none comes first."""
    topology = _Topology(domain)

    def order(device: etree._Element) -> _Order:
        place = Pci.of(device)
        return () if place is None else topology.order(place)

    return order


def last_place(domain: Domain, gaps: bool = False) -> Place:
    """Return the first free place behind every device of the domain.

    On pc it is the next slot; on q35 and virt a root port, an empty one if it comes
    late enough, else a new one.

    :param gaps: where no room is left there, take the last place before it
    :raises NoRoom: where no room is left
    """
    topology = _Topology(domain)
    if machine.family_of(domain) is machine.Family.PC:
        places = [Place(slot) for slot in topology.next_slots()]
        others = [Place(slot) for slot in topology.free_slots()]
    else:
        others = [Place(port) for port in topology.free_ports()]
        # A pci-bridge sits where older libvirt put it, above every port there can be.
        bridged = [Place(slot) for slot in topology.next_slots() if slot.bus]
        places = others + topology.new_ports() + bridged

    def order(place: Place) -> _Order:
        return topology.order(place.address)

    behind = [place for place in places if order(place) > topology.last]
    if behind:
        return min(behind, key=order)
    if gaps and others:
        return replace(max(others, key=order), in_gap=True)
    reason = "no room is left on the machine's PCI buses"
    if others:
        reason += (
            " behind its last device; a rescue device in a gap before it would "
            "rename the server's own disks"
        )
    raise exception.NoRoom(reason)
