# SPDX-License-Identifier: Apache-2.0
"""Where a device sits: PCI, drive and USB addresses as values."""

from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

from stable_rescue.domain import document


@dataclass(frozen=True, order=True)
class Pci:
    """A PCI address. Order is that of bus, slot, function."""

    domain: int
    bus: int
    slot: int
    function: int = 0

    @classmethod
    def of(cls, device: etree._Element) -> "Pci | None":
        """Return the PCI address of a device, or None where it has none.

        :raises InvalidDomain: where a part of it is no number
        """
        found = of_type(device, "pci")
        if found is None:
            return None
        get, number = found.get, document.number
        return cls(
            number(get("domain", "0"), "a PCI address's domain", 0),
            number(get("bus", "0"), "a PCI address's bus", 0),
            number(get("slot", "0"), "a PCI address's slot", 0),
            number(get("function", "0"), "a PCI address's function", 0),
        )

    def element(self, multifunction: bool = False) -> etree._Element:
        """Return the <address> element, written as libvirt writes it."""
        found = etree.Element(
            "address",
            type="pci",
            domain=f"0x{self.domain:04x}",
            bus=f"0x{self.bus:02x}",
            slot=f"0x{self.slot:02x}",
            function=f"0x{self.function:x}",
        )
        if multifunction:
            found.set("multifunction", "on")
        return found

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
        """Return the drive address of a device, or None where it has none."""
        found = of_type(device, "drive")
        if found is None:
            return None
        parts = ("controller", "bus", "target", "unit")
        return cls(
            *(
                document.number(found.get(part, "0"), f"a drive address's {part}")
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
    """Return a device's <address>, if it is one of this type; libvirt gives it one."""
    found = device.find("address")
    return found if found is not None and found.get("type") == kind else None


def usb_element(bus: int, port: int) -> etree._Element:
    """Return the <address> element of a device in a USB controller's port."""
    return etree.Element("address", type="usb", bus=str(bus), port=str(port))


def addressed(devices: etree._Element) -> Iterator[tuple[etree._Element, Pci]]:
    """Yield each device that has a PCI address, with it.

    The <address> of a hostdev's <source> is the host's and is not looked at.
    """
    for device in devices:
        if isinstance(device.tag, str):
            found = Pci.of(device)
            if found is not None:
                yield device, found
