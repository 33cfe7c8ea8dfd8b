# SPDX-License-Identifier: Apache-2.0
"""Definitions as libvirt 9.0 returned them, and changes to them for tests."""

from pathlib import Path

from lxml import etree

from stable_rescue import plan
from stable_rescue.domain.document import Domain, Draft
from stable_rescue.domain.medium import Medium

GOLDEN = Path(__file__).parent / "golden"
MEDIUM = Medium.from_file("/var/lib/nova/instances/0f4b0a6e/disk.rescue", "qcow2")
MEDIA = plan.RescueMedia(MEDIUM)

#: Every rescue that is possible: machine, device and bus.
RESCUES = [
    ("pc", "disk", "virtio"),
    ("pc", "disk", "usb"),
    ("pc", "disk", "scsi"),
    ("pc", "disk", "ide"),
    ("pc", "cdrom", "ide"),
    ("pc", "cdrom", "scsi"),
    ("pc", "cdrom", "usb"),
    ("q35", "disk", "virtio"),
    ("q35", "disk", "usb"),
    ("q35", "disk", "scsi"),
    ("q35", "disk", "sata"),
    ("q35", "cdrom", "sata"),
    ("q35", "cdrom", "scsi"),
    ("q35", "cdrom", "usb"),
    ("pc", "floppy", "fdc"),
    ("q35", "floppy", "fdc"),
]
#: The key in a layout of the samples' USB controller, which a rescue may change (F13).
USB_NONE = ("controller", "usb", "0", "none", "", "1")


def read(name: str) -> str:
    """Return the text of a golden definition."""
    return (GOLDEN / f"{name}.xml").read_text()


def parsed(name: str) -> Domain:
    """Return a golden definition."""
    return Domain.parse(read(name))


def domain(name: str) -> Draft:
    """Return a golden definition that a test may edit."""
    return parsed(name).copy()


def derive(
    original: Domain, device: str = "disk", bus: str | None = None
) -> plan.RescuePlan:
    """Return the plan of a rescue."""
    return plan.derive(original, plan.RescueRequest(device, bus), MEDIA)


def add(to: Draft, xml: str) -> None:
    """Append a device."""
    to.devices.append(etree.fromstring(xml))


def add_disk(to: Draft, target: str, bus: str, address: str) -> None:
    """Append a disk.

    :param address: the attributes of the address, as text
    """
    add(
        to,
        f"<disk type='file' device='disk'><source file='/{target}'/>"
        f"<target dev='{target}' bus='{bus}'/><address {address}/></disk>",
    )


def pci(bus: int, slot: int, function: int = 0) -> str:
    """Return the attributes of a PCI address."""
    return (
        f"type='pci' domain='0x0000' bus='0x{bus:02x}' slot='0x{slot:02x}' "
        f"function='0x{function:x}'"
    )


def drive(controller: int, bus: int, target: int, unit: int) -> str:
    """Return the attributes of a drive address."""
    return (
        f"type='drive' controller='{controller}' bus='{bus}' target='{target}' "
        f"unit='{unit}'"
    )


def remove_disk(from_: Draft, target: str) -> None:
    """Remove a disk, as an unplug does."""
    for disk in list(from_.disks()):
        if disk.find(f"target[@dev='{target}']") is not None:
            from_.devices.remove(disk)
