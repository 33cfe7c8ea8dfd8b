# SPDX-License-Identifier: Apache-2.0
"""Reads what a guest printed about its devices (lab/guest/init writes it).

Addresses are the paths of /sys/devices without the kernel's volatile counters
(ataN, hostN, virtioN, usbN: LIBVIRT, "Ignore the kernel's counters"), so that two
boots of the same machine compare equal: ``00:02.3/04:00.0`` for a PCI function
behind a root port, ``00:1f.2/ata:1/0:0:0`` and ``00:05.0/usb:1/0:0:0`` for disks
on a controller, where the last part is channel, target and unit.
"""

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any

from stable_rescue.tempest.guest import firmware

_LINE = re.compile(r"LAB1 (\d+) (\d+) (\d+) (\d+) (\{.*)")
_PCI = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_USB_PORT = re.compile(r"\d+-([\d.]+)")
_SCSI = re.compile(r"\d+:(\d+:\d+:\d+)")

#: What the guest prints when its power button was pressed.
POWER_OFF_MARK = "LAB-POWEROFF"


@dataclasses.dataclass(frozen=True)
class Device:
    """One device as the guest sees it; what does not apply to its kind is empty."""

    kind: str  # disk, nic, pci or usb
    address: str
    name: str = ""  # the kernel's: vda, eth0
    size: int = 0  # bytes
    serial: str = ""
    readonly: bool = False
    removable: bool = False
    content: str = ""  # what its first sectors are: lab, ext, vfat, iso, swap, xfs
    label: str = ""
    signature: str = ""  # the MBR's disk signature, as the EDD driver writes it
    marker_read: str = ""  # the marker on the disk when this guest first saw it
    marker_written: str = ""  # the marker that this guest wrote to the disk
    content_sha256: str = ""  # of a config drive's whole content
    password_sha256: str = ""  # of the admin_pass in a config drive
    mac: str = ""
    ids: str = ""  # vendor:device
    subsystem: str = ""
    pci_class: str = ""
    driver: str = ""
    product: str = ""

    @property
    def is_cdrom(self) -> bool:
        """Whether it is a CD-ROM drive."""
        return self.kind == "disk" and self.name.startswith("sr")


@dataclasses.dataclass(frozen=True)
class Inventory:
    """All that one guest saw at one moment."""

    sequence: int  # counts from 1 with each boot
    image: str  # original or rescue, as the booted kernel was told
    build: str
    medium: str  # disk or cdrom
    firmware: str  # bios or uefi
    uptime: float  # seconds
    devices: tuple[Device, ...]
    boot_facts: dict[str, Any] = dataclasses.field(repr=False, compare=False)
    boot_id: str = ""  # the kernel's: another with each boot

    def of_kind(self, kind: str) -> tuple[Device, ...]:
        """Return the devices of one kind."""
        return tuple(device for device in self.devices if device.kind == kind)

    @property
    def disks(self) -> tuple[Device, ...]:
        """The block devices."""
        return self.of_kind("disk")

    @property
    def boot_disk(self) -> Device | None:
        """The disk which the firmware says it booted; None where that is not clear.

        UEFI: the device path of Boot####, by BootCurrent. BIOS: what EDD tells of
        drive 0x80, which SeaBIOS gives to the disk that comes first in boot order.
        EDD does not cover CD-ROMs: there, the one that holds the booted image. An
        ordinary Linux tells the disk of its root file system instead.
        """
        if "root_disk" in self.boot_facts:
            found = [d for d in self.disks if d.name == self.boot_facts["root_disk"]]
        elif self.firmware == "uefi":
            option = firmware.BootOption.parse(self.boot_facts.get("boot_option", ""))
            found = [d for d in self.disks if option.names(d.address, d.signature)]
        elif self.medium == "cdrom":
            label = f"{self.image} {self.build}"
            found = [d for d in self.disks if d.is_cdrom and d.label == label]
        else:
            signature = self.boot_facts.get("edd_signature", "")
            found = [d for d in self.disks if d.signature and d.signature == signature]
            path = address_of(self.boot_facts.get("edd_path", ""))
            if path:
                found = [d for d in found if f"{d.address}/".startswith(f"{path}/")]
        return found[0] if len(found) == 1 else None


def parse(text: str) -> list[Inventory]:
    """Return the complete inventories in a console's output, oldest first.

    A guest prints each inventory twice; lines torn by a kernel message or missing
    in one copy are taken from the other. What is incomplete is left out.
    """
    inventories = []
    for sequence, count, lines in _groups(text):
        if len(lines) == count:
            facts = [lines[index] for index in range(1, count + 1)]
            inventories.append(_inventory(sequence, facts))
    return inventories


def last(text: str) -> Inventory | None:
    """Return the latest complete inventory in a console's output."""
    inventories = parse(text)
    return inventories[-1] if inventories else None


def address_of(path: str) -> str:
    """Return the stable address for a path below /sys/devices."""
    return _address(path, port="")


def _groups(text: str) -> Iterator[tuple[int, int, dict[int, dict[str, Any]]]]:
    """Yield sequence number, number of lines and lines of each inventory."""
    current: tuple[int, int] | None = None
    lines: dict[int, dict[str, Any]] = {}
    for match in _LINE.finditer(text):
        sequence, index, count, length = (int(match[n]) for n in range(1, 5))
        try:
            fact = json.loads(match[5][:length])
        except ValueError:
            continue  # torn; the other copy has it
        # The same number with other content is the next boot of the same console.
        if current != (sequence, count) or lines.get(index, fact) != fact:
            if current:
                yield *current, lines
            current, lines = (sequence, count), {}
        lines[index] = fact
    if current:
        yield *current, lines


def _inventory(sequence: int, facts: list[dict[str, Any]]) -> Inventory:
    boot = facts[0]
    return Inventory(
        sequence=sequence,
        image=boot["image"],
        build=boot["build"],
        medium=boot["medium"],
        firmware=boot["firmware"],
        uptime=float(boot["up"]),
        devices=tuple(_device(fact) for fact in facts[1:]),
        boot_facts=boot,
        boot_id=boot.get("boot_id", ""),
    )


def _device(fact: dict[str, Any]) -> Device:
    return Device(
        kind=fact["k"],
        address=_address(fact["path"], fact.get("port", "")),
        name=fact.get("name", ""),
        # a drive without a medium has a size all the same, but no content
        size=fact.get("size", 0) if "head" in fact else 0,
        serial=fact.get("serial", "").strip(),
        readonly=fact.get("ro") == "1",
        removable=fact.get("removable") == "1",
        content=fact.get("type", ""),
        label=fact.get("label", ""),
        signature=_signature(fact.get("head", "")),
        marker_read=fact.get("found", ""),
        marker_written=fact.get("wrote", ""),
        content_sha256=fact.get("digest", ""),
        password_sha256=fact.get("password", ""),
        mac=fact.get("mac", ""),
        ids=fact.get("id", ""),
        subsystem=fact.get("sub", ""),
        pci_class=fact.get("class", ""),
        driver=fact.get("driver", ""),
        product=fact.get("product", ""),
    )


def _signature(head: str) -> str:
    """Return the disk signature as EDD does, "" for none."""
    if len(head) != 8 or head == "00000000":
        return ""
    return f"0x{int.from_bytes(bytes.fromhex(head), 'little'):08x}"


def _address(path: str, port: str) -> str:
    parts = []
    for part in path.split("/"):
        if _PCI.fullmatch(part):
            parts.append(part.removeprefix("0000:"))
        elif part.startswith("ata") and part[3:].isdigit():
            parts.append(f"ata:{port}")
        elif match := _USB_PORT.fullmatch(part):
            # each hub on the way repeats its own ports: the last one tells all
            if parts and parts[-1].startswith("usb:"):
                parts.pop()
            parts.append(f"usb:{match[1]}")
        elif match := _SCSI.fullmatch(part):
            parts.append(match[1])
    return "/".join(parts) or path.partition("/block/")[0]
