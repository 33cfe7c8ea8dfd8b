# SPDX-License-Identifier: Apache-2.0
"""Find the address of a rescue disk on a bus, and add the controller that it needs.

Controllers are always explicit (E2). libvirt's implicit choices are a USB 1.1
controller, which boots slowly (U33, F14), and an lsilogic, for which OVMF has no driver
(F4).
"""

from collections.abc import Callable
from dataclasses import dataclass

from lxml import etree

from stable_rescue import exception
from stable_rescue.domain import address, document, pci
from stable_rescue.domain.address import Drive
from stable_rescue.domain.document import Domain, Draft

_VIRTIO_SCSI = ("virtio-scsi", "virtio-transitional", "virtio-non-transitional")
# libvirt accepts units up to 16383 and targets up to 255. Nova uses 256 units.
_SCSI_UNITS = 256
_SCSI_TARGETS = 256
_AHCI_UNITS = 6
_IDE_UNITS = 2
_IDE_PLACES = 4
_FDC_UNITS = 2
# QEMU, hw/i386: the IDE controller of pc's PIIX3 and the AHCI of q35's ICH9.
_CHIPSET_CONTROLLERS = {
    "ide": address.Pci(0, 0, 0x01, 1),
    "sata": address.Pci(0, 0, 0x1F, 2),
}


@dataclass(frozen=True)
class Seat:
    """An address for the rescue disk.

    ``added`` describes the controllers that were added for it. ``in_gap`` is True if
    devices of the server come after it.
    """

    address: etree._Element
    added: tuple[str, ...] = ()
    in_gap: bool = False


def seat(draft: Draft, bus: str, gaps: bool = False) -> Seat:
    """Return a seat behind all other disks on a bus; add the controller for it.

    :param gaps: take a gap between other devices if there is no room behind them
    :raises NoRoom: if there is no room
    """
    return _SEATS[bus](draft, gaps)


def _on_pci(draft: Draft, gaps: bool) -> Seat:
    place = pci.last_place(draft, gaps)
    if place.port is None:
        return Seat(place.address.element(), in_gap=place.in_gap)
    draft.append_device(place.port)
    port = f"pcie-root-port {place.port.get('index')} at {address.Pci.of(place.port)}"
    return Seat(place.address.element(), (port,))


def _on_new_controller(
    draft: Draft, controller: etree._Element, disk: etree._Element, gaps: bool
) -> Seat:
    """Append a controller in the last PCI place.

    :param disk: the disk's address on this controller
    """
    seated = _on_pci(draft, gaps)
    controller.append(seated.address)
    draft.append_device(controller)
    return Seat(disk, (*seated.added, _describe(controller)), seated.in_gap)


def _describe(controller: etree._Element) -> str:
    kind = controller.get("model") or controller.get("type")
    return f"{kind} controller {controller.get('index')} at " + str(
        address.Pci.of(controller)
    )


def _on_usb(draft: Draft, gaps: bool) -> Seat:
    for controller in draft.controllers("usb"):
        if controller.get("model") == "none":  # the only model that may change (F13)
            seated = _on_pci(draft, gaps)
            controller.set("model", "qemu-xhci")
            controller.append(seated.address)
            disk = address.usb_element(document.index_of(controller), 1)
            what = f"{_describe(controller)} in place of model none"
            return Seat(disk, (*seated.added, what), seated.in_gap)
    # Bus 0 belongs to the default controller, which the migratable form of a running
    # domain leaves out.
    bus = max(1, draft.next_controller_index("usb"))
    controller = etree.Element(
        "controller", type="usb", index=str(bus), model="qemu-xhci"
    )
    return _on_new_controller(draft, controller, address.usb_element(bus, 1), gaps)


def _drives_on(domain: Domain, controller: int, bus: str) -> list[Drive]:
    """Return the drive addresses in use on one controller.

    SCSI hostdevs share the controllers of SCSI disks.
    """
    devices = list(domain.disks(bus))
    if bus == "scsi":
        devices += list(domain.each_device("hostdev"))
    drives = [Drive.of(device) for device in devices]
    return [drive for drive in drives if drive and drive.controller == controller]


def _on_scsi(draft: Draft, gaps: bool) -> Seat:
    """Return a unit of the last virtio-scsi controller, else of a new one (F19)."""
    last = pci.last_of(draft, draft.controllers("scsi"))
    if last is not None and last.get("model") in _VIRTIO_SCSI:
        index = document.index_of(last)
        used = _drives_on(draft, index, "scsi")
        highest = max(used, default=Drive(index, 0, 0, -1))
        if highest.unit + 1 < _SCSI_UNITS:
            drive = Drive(index, 0, highest.target, highest.unit + 1)
        else:
            drive = Drive(index, 0, highest.target + 1, 0)
        if drive.target < _SCSI_TARGETS:
            return Seat(drive.element())
    index = draft.next_controller_index("scsi")
    controller = etree.Element(
        "controller", type="scsi", index=str(index), model="virtio-scsi"
    )
    return _on_new_controller(draft, controller, Drive(index, 0, 0, 0).element(), gaps)


def _on_sata(draft: Draft, gaps: bool) -> Seat:
    """Return a unit of the guest's last AHCI, or of another one if it is full (F18)."""
    last = pci.last_of(draft, draft.controllers("sata"))
    index = 0 if last is None else document.index_of(last)
    used = {drive.unit for drive in _drives_on(draft, index, "sata")}
    unit = 1 + max(used, default=-1)
    if unit < _AHCI_UNITS:
        added = _add_chipset_controller(draft, "sata")
        return Seat(Drive(index, 0, 0, unit).element(), added)
    index = max(1, draft.next_controller_index("sata"))
    controller = etree.Element("controller", type="sata", index=str(index))
    return _on_new_controller(draft, controller, Drive(index, 0, 0, 0).element(), gaps)


def _on_ide(draft: Draft, gaps: bool) -> Seat:
    used = {d.bus * _IDE_UNITS + d.unit for d in _drives_on(draft, 0, "ide")}
    place, in_gap = _unit_behind(used, _IDE_PLACES, "ide", gaps)
    bus, unit = divmod(place, _IDE_UNITS)
    added = _add_chipset_controller(draft, "ide")
    return Seat(Drive(0, bus, 0, unit).element(), added, in_gap)


def _add_chipset_controller(draft: Draft, kind: str) -> tuple[str, ...]:
    """Add the chipset's controller if the definition does not name it.

    The guest has this controller in any case, but libvirt leaves it out of some
    definitions.

    :raises NoRoom: if another device has its address, which libvirt would reject
    """
    if draft.has_controller(kind):
        return ()
    place = _CHIPSET_CONTROLLERS[kind]
    if place in (used for _device, used in address.addressed(draft.devices)):
        raise exception.NoRoom(
            f"another device of the server has the PCI address {place} of the "
            f"machine's {kind} controller"
        )
    controller = etree.Element("controller", type=kind, index="0")
    controller.append(place.element())
    draft.append_device(controller)
    return (_describe(controller),)


def _on_fdc(draft: Draft, gaps: bool) -> Seat:
    used = {drive.unit for drive in _drives_on(draft, 0, "fdc")}
    unit, in_gap = _unit_behind(used, _FDC_UNITS, "fdc", gaps)
    added: tuple[str, ...] = ()
    if not draft.has_controller("fdc"):
        # A floppy controller is an ISA device and has no address.
        draft.append_device(etree.Element("controller", type="fdc", index="0"))
        added = ("fdc controller 0",)
    return Seat(Drive(0, 0, 0, unit).element(), added, in_gap)


def _unit_behind(used: set[int], units: int, bus: str, gaps: bool) -> tuple[int, bool]:
    """Return the unit behind the last used one, and whether it is in a gap."""
    behind = 1 + max(used, default=-1)
    if behind < units:
        return behind, False
    free = set(range(units)) - used
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
