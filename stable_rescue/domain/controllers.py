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
from stable_rescue.domain.document import Domain

_VIRTIO_SCSI = ("virtio-scsi", "virtio-transitional", "virtio-non-transitional")
# libvirt takes LUNs to 16383 and targets to 255; Nova stops at 256 LUNs, so do we.
_SCSI_UNITS = 256
_SCSI_TARGETS = 256
_AHCI_UNITS = 6
_IDE_BUSES = 2
_IDE_UNITS = 2


@dataclass(frozen=True)
class Seat:
    """The rescue disk's address, and what had to be added to the domain for it."""

    address: etree._Element
    added: tuple[str, ...] = ()


def seat(domain: Domain, bus: str) -> Seat:
    """Make room for the rescue disk behind all others on a bus.

    The controller that it needs is added to the domain.

    :raises Refused: where there is no room
    """
    return _SEATS[bus](domain)


def _on_pci(domain: Domain) -> Seat:
    place = pci.last_place(domain)
    if place.port is None:
        return Seat(place.address.element())
    domain.append_device(place.port)
    port = f"pcie-root-port {place.port.get('index')} at {address.Pci.of(place.port)}"
    return Seat(place.address.element(), (port,))


def _add_controller(domain: Domain, controller: etree._Element) -> tuple[str, ...]:
    """Append a controller in the last PCI place; return all that was added."""
    seated = _on_pci(domain)
    controller.append(seated.address)
    domain.append_device(controller)
    return (*seated.added, _describe(controller))


def _describe(controller: etree._Element) -> str:
    model, index = controller.get("model"), controller.get("index")
    return f"{model} controller {index} at {address.Pci.of(controller)}"


def _on_usb(domain: Domain) -> Seat:
    # LIBVIRT.md: model none is the one controller that may change.
    for controller in domain.controllers("usb"):
        if controller.get("model") == "none":
            seated = _on_pci(domain)
            controller.set("model", "qemu-xhci")
            controller.append(seated.address)
            what = f"{_describe(controller)} in place of model none"
            bus = document.index_of(controller)
            return Seat(address.usb_element(bus, 1), (*seated.added, what))
    bus = domain.next_controller_index("usb")
    controller = etree.Element(
        "controller", type="usb", index=str(bus), model="qemu-xhci"
    )
    added = _add_controller(domain, controller)
    return Seat(address.usb_element(bus, 1), added)


def _drives_on(domain: Domain, controller: int, buses: tuple[str, ...]) -> list[Drive]:
    """Return the drive addresses in use on one controller.

    A SCSI hostdev sits on the controllers of scsi disks and counts with them.
    """
    holders = [d for d in domain.disks() if document.target_of(d)[1] in buses]
    if "scsi" in buses:
        holders += list(domain.each_device("hostdev"))
    found = [Drive.of(holder) for holder in holders]
    return [drive for drive in found if drive and drive.controller == controller]


def _on_scsi(domain: Domain) -> Seat:
    existing = sorted(domain.controllers("scsi"), key=document.index_of)
    if existing and existing[-1].get("model") in _VIRTIO_SCSI:
        index = document.index_of(existing[-1])
        used = _drives_on(domain, index, ("scsi",))
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
    added = _add_controller(domain, controller)
    return Seat(Drive(index, 0, 0, 0).element(), added)


def _on_sata(domain: Domain) -> Seat:
    index = max((document.index_of(c) for c in domain.controllers("sata")), default=0)
    used = _drives_on(domain, index, ("sata",))
    last = max(used, default=Drive(index, 0, 0, -1))
    if last.unit + 1 >= _AHCI_UNITS:
        raise exception.Refused("no room is left behind the last disk on the sata bus")
    return Seat(Drive(index, 0, 0, last.unit + 1).element())


def _on_ide(domain: Domain) -> Seat:
    used = _drives_on(domain, 0, ("ide",))
    last = max((d.bus * _IDE_UNITS + d.unit for d in used), default=-1)
    if last + 1 >= _IDE_BUSES * _IDE_UNITS:
        raise exception.Refused("no room is left behind the last disk on the ide bus")
    bus, unit = divmod(last + 1, _IDE_UNITS)
    return Seat(Drive(0, bus, 0, unit).element())


_SEATS: dict[str, Callable[[Domain], Seat]] = {
    "virtio": _on_pci,
    "usb": _on_usb,
    "scsi": _on_scsi,
    "sata": _on_sata,
    "ide": _on_ide,
}
