# SPDX-License-Identifier: Apache-2.0
"""What a machine type can carry."""

import enum
import re

from stable_rescue import exception
from stable_rescue.domain.document import Domain


class Family(enum.Enum):
    """The machine families, by the topology of their PCI buses."""

    PC = "pc"
    Q35 = "q35"
    VIRT = "virt"


# QEMU, hw/i386/pc_piix.c and pc_q35.c: before 1.4 a pc had its version alone.
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

# LIBVIRT.md, rules by bus and machine: no ide on q35; nothing but disks on virtio,
# because Nova and libvirt know no other medium there. The first is the default.
_CARRIES: dict[Family, dict[str, tuple[str, ...]]] = {
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
    """Return the family of a domain's machine type.

    :raises Refused: where it is one that is not supported
    """
    kind = domain.root.find("os/type")
    assert kind is not None  # Domain.parse() has seen it
    machine, arch = kind.get("machine", ""), architecture_of(domain)
    family = family_named(machine)
    if family and arch in _ARCHITECTURES[family] and (kind.text or "").strip() == "hvm":
        return family
    raise exception.Refused(
        f"machine type {machine or 'unknown'!r} on {arch} is not supported; "
        "supported are pc and q35 on x86_64, virt on aarch64"
    )


def architecture_of(domain: Domain) -> str:
    """Return a domain's architecture, as libvirt and Nova call it."""
    kind = domain.root.find("os/type")
    assert kind is not None  # Domain.parse() has seen it
    return kind.get("arch", "x86_64")


def family_named(machine: str) -> Family | None:
    """Return the family that a machine type belongs to; None: one of no other."""
    for family, names in _NAMES.items():
        if names.fullmatch(machine):
            return family
    return None


def is_secure(domain: Domain) -> bool:
    """Say whether a domain's firmware has secure boot."""
    loader = domain.root.find("os/loader")
    return loader is not None and loader.get("secure") == "yes"


def is_uefi(domain: Domain) -> bool:
    """Say whether a domain's firmware is UEFI, which virt's always is."""
    os_element = domain.root.find("os")
    assert os_element is not None  # Domain.parse() has seen os/type
    loader = os_element.find("loader")
    return (
        family_of(domain) is Family.VIRT
        or os_element.get("firmware") == "efi"
        or os_element.find("nvram") is not None
        or (loader is not None and loader.get("type") == "pflash")
    )


def carries(domain: Domain) -> dict[str, tuple[str, ...]]:
    """Return the buses that a domain's machine has for each rescue device.

    :raises Refused: where the machine is not supported
    """
    family = family_of(domain)
    found = dict(_CARRIES[family])
    # A pc has sata where an AHCI controller was added to it, and not otherwise.
    if family is Family.PC and domain.has_controller("sata"):
        found = {d: (*b, "sata") if d != "floppy" else b for d, b in found.items()}
    # edk2 has had no driver for floppies since 2019 (IsaFloppyPei, IsaFloppyDxe).
    if is_uefi(domain):
        found.pop("floppy", None)
    return found


def default_bus(domain: Domain, device: str) -> str:
    """Return the bus of a rescue device whose image names none (DESIGN.md, table).

    A disk takes the bus of the server's own root disk, a cdrom the first that
    the machine has, so that the default comes from the server (UPSTREAM U11).

    :raises Refused: where the machine cannot carry the device, or has no disk
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
        "the server has no disk to take the rescue disk's bus from; "
        "set hw_rescue_bus on the rescue image"
    )


def buses_for(domain: Domain, device: str) -> tuple[str, ...]:
    """Return the buses on which this domain's machine can carry a device.

    :raises Refused: where there is none, naming what the machine can take
    """
    found = carries(domain).get(device, ())
    if not found:
        raise exception.Refused(
            f"a {device} is not possible on this server's machine; {takes(domain)}"
        )
    return found


def check(domain: Domain, device: str, bus: str) -> None:
    """Check that a domain's machine can carry a device on a bus (UPSTREAM U10).

    :raises Refused: where it cannot, naming what it can take
    """
    if bus not in buses_for(domain, device):
        raise exception.Refused(
            f"a {device} on bus {bus} is not possible on this server's machine; "
            f"{takes(domain)}"
        )


def takes(domain: Domain) -> str:
    """Return a sentence part that names what the machine can take."""
    pairs = "; ".join(
        f"{device} on {', '.join(buses)}" for device, buses in carries(domain).items()
    )
    firmware = " with UEFI" if is_uefi(domain) else ""
    return f"{family_of(domain).value}{firmware} takes {pairs}"
