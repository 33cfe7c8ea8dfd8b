# SPDX-License-Identifier: Apache-2.0
"""The rescue devices and buses that each machine type supports."""

import enum
import re

from stable_rescue import exception
from stable_rescue.domain.document import Domain


class Family(enum.Enum):
    """The machine families, by the topology of their PCI buses."""

    PC = "pc"
    Q35 = "q35"
    VIRT = "virt"


# QEMU, hw/i386/pc_piix.c and pc_q35.c. Before 1.4, names of pc types had no "i440fx".
_NAMES = {
    Family.PC: re.compile(r"pc(-i440fx-.+|-[01]\.\d+)?"),
    Family.Q35: re.compile(r"(pc-)?q35(-.+)?"),
    Family.VIRT: re.compile(r"virt(-.+)?"),
}
_ARCHITECTURES = {
    Family.PC: ("x86_64", "i686"),
    Family.Q35: ("x86_64", "i686"),
    Family.VIRT: ("aarch64",),
}

# What libvirt accepts (F17, F33). The first bus is the default for cdrom and floppy.
_BUSES: dict[Family, dict[str, tuple[str, ...]]] = {
    Family.PC: {
        "disk": ("virtio", "scsi", "usb", "ide"),
        "cdrom": ("ide", "scsi", "usb"),
        "floppy": ("fdc",),
    },
    Family.Q35: {
        "disk": ("virtio", "scsi", "usb", "sata"),
        "cdrom": ("sata", "scsi", "usb"),
        "floppy": ("fdc",),
    },
    Family.VIRT: {
        "disk": ("virtio", "scsi", "usb"),
        "cdrom": ("scsi", "usb"),
    },
}


def family_of(domain: Domain) -> Family:
    """Return the family of the machine type of a domain.

    :raises Refused: if the machine type is not supported
    """
    kind = domain.root.find("os/type")
    assert kind is not None  # Domain.parse() has checked this
    machine, arch = kind.get("machine", ""), architecture_of(domain)
    family = family_named(machine)
    if family and arch in _ARCHITECTURES[family] and (kind.text or "").strip() == "hvm":
        return family
    raise exception.Refused(
        f"machine type {machine or 'unknown'!r} on {arch} is not supported; "
        "supported are pc and q35 on x86_64, virt on aarch64"
    )


def architecture_of(domain: Domain) -> str:
    """Return the architecture of a domain, by the name that libvirt and Nova use."""
    kind = domain.root.find("os/type")
    assert kind is not None  # Domain.parse() has checked this
    return kind.get("arch", "x86_64")


def family_named(machine: str) -> Family | None:
    """Return the family of a machine type; None if it belongs to no known family."""
    for family, names in _NAMES.items():
        if names.fullmatch(machine):
            return family
    return None


def is_secure(domain: Domain) -> bool:
    """Return True if the firmware of a domain has secure boot."""
    loader = domain.root.find("os/loader")
    return loader is not None and loader.get("secure") == "yes"


def is_uefi(domain: Domain) -> bool:
    """Return True if the firmware of a domain is UEFI, as it always is on virt."""
    os_element = domain.root.find("os")
    assert os_element is not None  # Domain.parse() has checked os/type
    loader = os_element.find("loader")
    return (
        family_of(domain) is Family.VIRT
        or os_element.get("firmware") == "efi"
        or os_element.find("nvram") is not None
        or (loader is not None and loader.get("type") == "pflash")
    )


def buses_by_device(domain: Domain) -> dict[str, tuple[str, ...]]:
    """Return, by rescue device, the buses that the domain's machine type has.

    :raises Refused: if the machine type is not supported
    """
    family = family_of(domain)
    buses = dict(_BUSES[family])
    # A pc only has sata if an AHCI controller was added to it.
    if family is Family.PC and domain.has_controller("sata"):
        buses = {d: (*b, "sata") if d != "floppy" else b for d, b in buses.items()}
    # edk2 removed its floppy drivers (IsaFloppyPei, IsaFloppyDxe) in 2019.
    if is_uefi(domain):
        buses.pop("floppy", None)
    return buses


def default_bus(domain: Domain, device: str) -> str:
    """Return the bus for a rescue device whose image names none (U11).

    A disk uses the bus of the server's root disk, another device the first bus that
    the machine type has for it.

    :raises Refused: if the machine type does not support the device, or if the
        server has no disk
    """
    if device != "disk":
        return buses_for(domain, device)[0]
    disks = [d for d in domain.disks() if d.get("device", "disk") == "disk"]
    ordered = [d for d in disks if d.find("boot[@order='1']") is not None]
    for root in [*ordered, *disks]:
        target = root.find("target")
        if target is not None and target.get("bus"):
            return str(target.get("bus"))
    raise exception.Refused(
        "the server has no disk whose bus the rescue disk could use; "
        "set hw_rescue_bus on the rescue image"
    )


def buses_for(domain: Domain, device: str) -> tuple[str, ...]:
    """Return the buses on which the domain's machine type supports a device.

    :raises Refused: if there is none, naming what the machine type supports
    """
    buses = buses_by_device(domain).get(device, ())
    if not buses:
        raise exception.Refused(
            f"a {device} is not possible on this server's machine; {supported(domain)}"
        )
    return buses


def check(domain: Domain, device: str, bus: str) -> None:
    """Check that the domain's machine type supports a device on a bus (U10).

    :raises Refused: if it does not, naming what it supports
    """
    if bus not in buses_for(domain, device):
        raise exception.Refused(
            f"a {device} on bus {bus} is not possible on this server's machine; "
            f"{supported(domain)}"
        )


def supported(domain: Domain) -> str:
    """Return a phrase that names what the domain's machine type supports."""
    pairs = "; ".join(
        f"{device} on {', '.join(buses)}"
        for device, buses in buses_by_device(domain).items()
    )
    firmware = " with UEFI" if is_uefi(domain) else ""
    return f"{family_of(domain).value}{firmware} supports {pairs}"
