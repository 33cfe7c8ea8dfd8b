# SPDX-License-Identifier: Apache-2.0
"""Where a rescue disk goes on each bus, with the controller that it needs.

Controllers are always explicit: libvirt's implicit choices are a USB 1.1 controller
(UPSTREAM U33) and an lsilogic that OVMF has no driver for (LIBVIRT F4).
"""

from collections.abc import Callable
from dataclasses import dataclass

from lxml import etree

from stable_rescue import exception
from stable_rescue.domain import address, document, pci
from stable_rescue.domain.address import Drive
from stable_rescue.domain.document import Domain, Draft

_VIRTIO_SCSI = ("virtio-scsi", "virtio-transitional", "virtio-non-transitional")
# libvirt takes LUNs to 16383 and targets to 255; Nova stops at 256 LUNs, so do we.
_SCSI_UNITS = 256
_SCSI_TARGETS = 256
_AHCI_UNITS = 6
_IDE_UNITS = 2
_IDE_PLACES = 4
_FDC_UNITS = 2
# QEMU, hw/i386: the PIIX3's IDE of pc and the ICH9's AHCI of q35.
_CHIPSETS_OWN = {
    "ide": address.Pci(0, 0, 0x01, 1),
    "sata": address.Pci(0, 0, 0x1F, 2),
}


@dataclass(frozen=True)
class Seat:
    """The rescue disk's address, and what had to be added to the domain for it.

    In a gap: before another device of the same kind.
    """

    address: etree._Element
    added: tuple[str, ...] = ()
    in_gap: bool = False


def seat(domain: Draft, bus: str, gaps: bool = False) -> Seat:
    """Make room for the rescue disk behind all others on a bus.

    The controller that it needs is added to the domain.

    :param gaps: take a gap where no room is left behind the others
    :raises NoRoom: where there is no room
    """
    return _SEATS[bus](domain, gaps)


def _on_pci(domain: Draft, gaps: bool) -> Seat:
    place = pci.last_place(domain, gaps)
    if place.port is None:
        return Seat(place.address.element(), in_gap=place.in_gap)
    domain.append_device(place.port)
    port = f"pcie-root-port {place.port.get('index')} at {address.Pci.of(place.port)}"
    return Seat(place.address.element(), (port,))


def _with_controller(
    domain: Draft, controller: etree._Element, disk: etree._Element, gaps: bool
) -> Seat:
    """Append a controller in the last PCI place; return the disk's seat on it."""
    seated = _on_pci(domain, gaps)
    controller.append(seated.address)
    domain.append_device(controller)
    return Seat(disk, (*seated.added, _describe(controller)), seated.in_gap)


def _describe(controller: etree._Element) -> str:
    kind = controller.get("model") or controller.get("type")
    return f"{kind} controller {controller.get('index')} at " + str(
        address.Pci.of(controller)
    )


def _on_usb(domain: Draft, gaps: bool) -> Seat:
    # LIBVIRT.md: model none is the one controller that may change.
    for controller in domain.controllers("usb"):
        if controller.get("model") == "none":
            seated = _on_pci(domain, gaps)
            controller.set("model", "qemu-xhci")
            controller.append(seated.address)
            disk = address.usb_element(document.index_of(controller), 1)
            what = f"{_describe(controller)} in place of model none"
            return Seat(disk, (*seated.added, what), seated.in_gap)
    # Bus 0 is the default controller's, which the migratable form leaves out.
    bus = max(1, domain.next_controller_index("usb"))
    controller = etree.Element(
        "controller", type="usb", index=str(bus), model="qemu-xhci"
    )
    return _with_controller(domain, controller, address.usb_element(bus, 1), gaps)


def _drives_on(domain: Domain, controller: int, bus: str) -> list[Drive]:
    """Return the drive addresses in use on one controller.

    A SCSI hostdev sits on the controllers of scsi disks and counts with them.
    """
    holders = list(domain.disks(bus))
    if bus == "scsi":
        holders += list(domain.each_device("hostdev"))
    found = [Drive.of(holder) for holder in holders]
    return [drive for drive in found if drive and drive.controller == controller]


def _on_scsi(domain: Draft, gaps: bool) -> Seat:
    joined = pci.last_of(domain, domain.controllers("scsi"))
    if joined is not None and joined.get("model") in _VIRTIO_SCSI:
        index = document.index_of(joined)
        used = _drives_on(domain, index, "scsi")
        last = max(used, default=Drive(index, 0, 0, -1))
        if last.unit + 1 < _SCSI_UNITS:
            drive = Drive(index, 0, last.target, last.unit + 1)
        else:
            drive = Drive(index, 0, last.target + 1, 0)
        if drive.target < _SCSI_TARGETS:
            return Seat(drive.element())
    index = domain.next_controller_index("scsi")
    controller = etree.Element(
        "controller", type="scsi", index=str(index), model="virtio-scsi"
    )
    return _with_controller(domain, controller, Drive(index, 0, 0, 0).element(), gaps)


def _on_sata(domain: Draft, gaps: bool) -> Seat:
    joined = pci.last_of(domain, domain.controllers("sata"))
    index = 0 if joined is None else document.index_of(joined)
    used = {drive.unit for drive in _drives_on(domain, index, "sata")}
    unit = 1 + max(used, default=-1)
    if unit < _AHCI_UNITS:
        return Seat(Drive(index, 0, 0, unit).element(), _chipsets_own(domain, "sata"))
    # LIBVIRT.md: the six units of one are used, so a second AHCI.
    index = max(1, domain.next_controller_index("sata"))
    controller = etree.Element("controller", type="sata", index=str(index))
    return _with_controller(domain, controller, Drive(index, 0, 0, 0).element(), gaps)


def _on_ide(domain: Draft, gaps: bool) -> Seat:
    used = {d.bus * _IDE_UNITS + d.unit for d in _drives_on(domain, 0, "ide")}
    place, in_gap = _unit_behind(used, _IDE_PLACES, "ide", gaps)
    bus, unit = divmod(place, _IDE_UNITS)
    added = _chipsets_own(domain, "ide")
    return Seat(Drive(0, bus, 0, unit).element(), added, in_gap)


def _chipsets_own(domain: Draft, kind: str) -> tuple[str, ...]:
    """Add the chipset's own controller where the definition does not name it.

    The guest has it in any case; libvirt would add it, but leaves it out of some
    definitions.

    :raises NoRoom: where something else has its place, which libvirt refuses
    """
    if domain.has_controller(kind):
        return ()
    place = _CHIPSETS_OWN[kind]
    if place in (taken for _device, taken in address.addressed(domain.devices)):
        raise exception.NoRoom(
            f"a device of the server has the place of its machine's {kind} controller"
        )
    controller = etree.Element("controller", type=kind, index="0")
    controller.append(place.element())
    domain.append_device(controller)
    return (_describe(controller),)


def _on_fdc(domain: Draft, gaps: bool) -> Seat:
    used = {drive.unit for drive in _drives_on(domain, 0, "fdc")}
    unit, in_gap = _unit_behind(used, _FDC_UNITS, "fdc", gaps)
    added: tuple[str, ...] = ()
    if not domain.has_controller("fdc"):
        # It is an ISA device, and has no address.
        domain.append_device(etree.Element("controller", type="fdc", index="0"))
        added = ("fdc controller 0",)
    return Seat(Drive(0, 0, 0, unit).element(), added, in_gap)


def _unit_behind(used: set[int], room: int, bus: str, gaps: bool) -> tuple[int, bool]:
    """Return the unit behind the last used one, and whether it is in a gap."""
    behind = 1 + max(used, default=-1)
    if behind < room:
        return behind, False
    free = set(range(room)) - used
    if gaps and free:
        return max(free), True
    where = " behind its last disk" if free else ""
    raise exception.NoRoom(f"no room is left on the {bus} bus{where}")


_SEATS: dict[str, Callable[[Draft, bool], Seat]] = {
    "virtio": _on_pci,
    "usb": _on_usb,
    "scsi": _on_scsi,
    "sata": _on_sata,
    "ide": _on_ide,
    "fdc": _on_fdc,
}
