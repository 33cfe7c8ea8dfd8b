# SPDX-License-Identifier: Apache-2.0
"""Find the last place on a machine's PCI buses.

A guest enumerates the devices of a bus by slot and function, and after that the devices
behind each bridge of this bus, in the same order. A new device at the end of this order
moves nothing and renames nothing, if no bridge gets another bus number (F7, F31).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from lxml import etree

from stable_rescue import exception
from stable_rescue.domain import address, document, machine, passthrough
from stable_rescue.domain.address import Pci
from stable_rescue.domain.document import Domain

# Function 0 has this if other functions of the slot may be used.
_MULTIFUNCTION = "address[@multifunction='on']"
# 0x1f holds the ICH9 chipset's own functions, 0x01 the primary video device.
_Q35_SLOTS = range(0x02, 0x1F)
# 0x01 holds the PIIX3 chipset's own functions, 0x02 the primary video device.
_PC_SLOTS = range(0x03, 0x20)
# The slots whose function 0 belongs to the chipset and is in no definition.
_CHIPSET_SLOTS = {
    machine.Family.PC: {0x00, 0x01},
    machine.Family.Q35: {0x00, 0x1F},
    machine.Family.VIRT: {0x00},
}
# Slot 0 of a pci-bridge belongs to its hot-plug controller.
_CONVENTIONAL = ("pci-bridge", "pcie-to-pci-bridge")
_BRIDGE_SLOTS = range(0x01, 0x20)

# A step per bus: (0, slot, function) for the device, (1, slot, function) for the bridge
# that it is behind.
_Order = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Place:
    """A free place: its address, and the root port to add for it, if any.

    ``in_gap`` is True if devices of the server come after it.
    """

    address: Pci
    port: etree._Element | None = None
    in_gap: bool = False


class _Topology:
    """The PCI buses of a domain and the devices on them."""

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
                continue  # nothing is ever added to another PCI segment
            self.used.setdefault(place.bus, set()).add((place.slot, place.function))
            if device.find(_MULTIFUNCTION) is not None:
                self._multifunction.add((place.bus, place.slot))
            if device.tag == "controller" and device.get("type") == "pci":
                self._add_bridge(device, place)
            else:
                endpoints.append(place)
        endpoints += self._reserve_passed_through(domain)
        self.last = max((self.order(place) for place in endpoints), default=())

    def _reserve_passed_through(self, domain: Domain) -> list[Pci]:
        """Reserve and return the places of devices that are passed to QEMU directly."""
        occupied = {slot for slot, function in self.used.get(0, ()) if not function}
        chipset = _CHIPSET_SLOTS[machine.family_of(domain)]
        reserved = list(passthrough.places(domain, occupied, chipset))
        for place in reserved:
            self.used.setdefault(place.bus, set()).add((place.slot, place.function))
        return reserved

    def _add_bridge(self, controller: etree._Element, place: Pci) -> None:
        index = document.index_of(controller)
        self.bridges[index] = (controller.get("model", ""), place)
        target = controller.find("target[@chassis]")
        if target is not None:
            self._chassis.add(
                document.number(
                    target.get("chassis"), "the chassis of a PCI controller", 0
                )
            )

    def order(self, place: Pci) -> _Order:
        """Return the position of a place in the guest's enumeration, for comparison."""
        steps = [(0, place.slot, place.function)]
        bus, seen = place.bus, set[int]()
        while bus in self.bridges and bus not in seen:
            seen.add(bus)
            parent = self.bridges[bus][1]
            steps.append((1, parent.slot, parent.function))
            bus = parent.bus
        return tuple(reversed(steps))

    def free_ports(self) -> Iterator[Pci]:
        """Yield the place behind each empty root port."""
        for index, (model, _place) in self.bridges.items():
            if model == "pcie-root-port" and index not in self.used:
                yield Pci(0, index, 0)

    def next_slots(self) -> Iterator[Pci]:
        """Yield the slot above the highest used slot of each conventional bus."""
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
        """Return the place behind a new root port; empty if there is no room for one.

        The port is above all bridges of bus 0, because firmware numbers the buses
        behind bridges in this order.
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
    """Return the one of these devices that the guest enumerates last, if any."""
    candidates = list(devices)
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    return max(candidates, key=_order_in(domain))


def behind(
    domain: Domain, device: etree._Element, others: Iterable[etree._Element]
) -> list[etree._Element]:
    """Return the others that the guest enumerates after a device."""
    candidates = list(others)
    if not candidates:
        return []
    order = _order_in(domain)
    return [other for other in candidates if order(other) > order(device)]


def _order_in(domain: Domain) -> Callable[[etree._Element], _Order]:
    """Return a sort key for devices; those without a PCI address come first."""
    topology = _Topology(domain)

    def order(device: etree._Element) -> _Order:
        place = Pci.of(device)
        return () if place is None else topology.order(place)

    return order


def without_controller(domain: Domain) -> list[tuple[etree._Element, Pci]]:
    """Return the devices with an address on a bus that no controller provides."""
    buses = {0, *map(document.index_of, domain.controllers("pci"))}
    return [
        (device, place)
        for device, place in address.addressed(domain.devices)
        if not place.domain and place.bus not in buses
    ]


def last_place(domain: Domain, gaps: bool = False) -> Place:
    """Return the first free place behind every device of the domain.

    On pc this is the next slot. On q35 and virt it is behind a root port: an empty one
    that comes after every device, else a new one.

    :param gaps: if there is no such place, return the last free place before it
    :raises NoRoom: if there is no free place
    """
    topology = _Topology(domain)
    if machine.family_of(domain) is machine.Family.PC:
        places = [Place(slot) for slot in topology.next_slots()]
        gap_places = [Place(slot) for slot in topology.free_slots()]
    else:
        gap_places = [Place(port) for port in topology.free_ports()]
        # Older libvirt puts a pci-bridge above every slot that a port can have.
        bridged = [Place(slot) for slot in topology.next_slots() if slot.bus]
        places = gap_places + topology.new_ports() + bridged

    def order(place: Place) -> _Order:
        return topology.order(place.address)

    behind = [place for place in places if order(place) > topology.last]
    if behind:
        return min(behind, key=order)
    if gaps and gap_places:
        return replace(max(gap_places, key=order), in_gap=True)
    reason = "no room is left on the machine's PCI buses"
    if gap_places:
        reason += (
            " behind its last device; a rescue disk in a gap before it would rename "
            "the server's disks"
        )
    raise exception.NoRoom(reason)
