# SPDX-License-Identifier: Apache-2.0
"""PCI, drive and USB addresses of devices as values."""

from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

from stable_rescue.domain import document


@dataclass(frozen=True, order=True)
class Pci:
    """A PCI address. Addresses are ordered by bus, slot and function."""

    domain: int
    bus: int
    slot: int
    function: int = 0

    @classmethod
    def of(cls, device: etree._Element) -> "Pci | None":
        """Return the PCI address of a device, or None if it has none.

        :raises InvalidDomain: if a part of the address is not a number
        """
        element = of_type(device, "pci")
        if element is None:
            return None
        get, number = element.get, document.number
        return cls(
            number(get("domain", "0"), "the domain of a PCI address", 0),
            number(get("bus", "0"), "the bus of a PCI address", 0),
            number(get("slot", "0"), "the slot of a PCI address", 0),
            number(get("function", "0"), "the function of a PCI address", 0),
        )

    def element(self) -> etree._Element:
        """Return the <address> element in libvirt's notation."""
        return etree.Element(
            "address",
            type="pci",
            domain=f"0x{self.domain:04x}",
            bus=f"0x{self.bus:02x}",
            slot=f"0x{self.slot:02x}",
            function=f"0x{self.function:x}",
        )

    def __str__(self) -> str:
        return f"{self.domain:04x}:{self.bus:02x}:{self.slot:02x}.{self.function:x}"


@dataclass(frozen=True, order=True)
class Drive:
    """The address of a disk on a controller with units (scsi, sata, ide, fdc)."""

    controller: int
    bus: int
    target: int
    unit: int

    @classmethod
    def of(cls, device: etree._Element) -> "Drive | None":
        """Return the drive address of a device, or None if it has none.

        :raises InvalidDomain: if a part of the address is not a number
        """
        element = of_type(device, "drive")
        if element is None:
            return None
        parts = ("controller", "bus", "target", "unit")
        return cls(
            *(
                document.number(
                    element.get(part, "0"), f"the {part} of a drive address"
                )
                for part in parts
            )
        )

    def element(self) -> etree._Element:
        """Return the <address> element."""
        return etree.Element(
            "address",
            type="drive",
            controller=str(self.controller),
            bus=str(self.bus),
            target=str(self.target),
            unit=str(self.unit),
        )


def of_type(device: etree._Element, kind: str) -> etree._Element | None:
    """Return the <address> of a device if it has this type, else None."""
    element = device.find("address")
    return element if element is not None and element.get("type") == kind else None


def described(device: etree._Element) -> str:
    """Return the address of a device in the spelling of messages.

    :raises InvalidDomain: if a part of a PCI address is not a number
    """
    if pci := Pci.of(device):
        return str(pci)
    element = device.find("address")
    if element is None:
        return "no address"
    kind, *parts = element.attrib.items()
    return " ".join((kind[1], *(f"{name}={value}" for name, value in parts)))


def usb_element(bus: int, port: int) -> etree._Element:
    """Return the <address> element of a device on a port of a USB controller."""
    return etree.Element("address", type="usb", bus=str(bus), port=str(port))


def addressed(devices: etree._Element) -> Iterator[tuple[etree._Element, Pci]]:
    """Yield each device that has a PCI address, with this address.

    The <address> in the <source> of a hostdev belongs to the host and is ignored.
    """
    for device in devices:
        if isinstance(device.tag, str):
            pci = Pci.of(device)
            if pci is not None:
                yield device, pci
