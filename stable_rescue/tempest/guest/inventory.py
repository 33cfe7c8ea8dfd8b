# SPDX-License-Identifier: Apache-2.0
"""Parse the inventory that a guest of the lab prints (lab/guest/init writes it).

An address is a path of /sys/devices without the kernel's counters (ataN, hostN,
virtioN, usbN), which differ between two boots of the same machine (F31). A PCI function
behind a root port is at ``00:02.3/04:00.0``. Disks on a controller are at
``00:1f.2/ata:1/0:0:0`` and ``00:05.0/usb:1/0:0:0``; the last part is channel, target
and unit.
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

#: The line that a guest prints after its power button was pressed.
POWER_OFF_MARK = "LAB-POWEROFF"


@dataclasses.dataclass(frozen=True)
class Device:
    """One device as the guest sees it; a field that its kind does not have is empty."""

    kind: str  # disk, nic, pci or usb
    address: str
    name: str = ""  # the kernel's name: vda, eth0
    size: int = 0  # bytes
    serial: str = ""
    readonly: bool = False
    removable: bool = False
    content: str = ""  # by its first sectors: lab, ext, vfat, iso, swap, xfs
    label: str = ""
    signature: str = ""  # the MBR's disk signature, as the EDD driver prints it
    marker_read: str = ""  # the marker on the disk when this guest first saw it
    marker_written: str = ""  # the marker that this guest wrote to the disk
    content_sha256: str = ""  # of a config drive's whole content
    password_sha256: str = ""  # of the admin_pass in a config drive
    mac: str = ""
    carrier: str = ""  # of a NIC: 1 if its link is up, 0 if not, empty if unknown
    ids: str = ""  # vendor:device
    subsystem: str = ""
    pci_class: str = ""
    driver: str = ""
    product: str = ""

    @property
    def is_cdrom(self) -> bool:
        """True for a CD-ROM drive."""
        return self.kind == "disk" and self.name.startswith("sr")


@dataclasses.dataclass(frozen=True)
class Inventory:
    """All devices that a guest saw at one moment."""

    sequence: int  # number of the inventory since boot, from 1
    image: str  # original or rescue, from the kernel's command line
    build: str
    medium: str  # disk or cdrom
    firmware: str  # bios or uefi
    uptime: float  # seconds
    devices: tuple[Device, ...]
    boot_facts: dict[str, Any] = dataclasses.field(repr=False, compare=False)
    boot_id: str = ""  # the kernel's, which is new at each boot

    def of_kind(self, kind: str) -> tuple[Device, ...]:
        """Return the devices of one kind."""
        return tuple(device for device in self.devices if device.kind == kind)

    @property
    def disks(self) -> tuple[Device, ...]:
        """The block devices."""
        return self.of_kind("disk")

    @property
    def boot_disk(self) -> Device | None:
        """The disk that was booted; None if it is not known, or several match.

        A guest of an ordinary Linux names the disk of its root file system. For other
        guests the firmware decides: under UEFI the device path of BootCurrent's entry,
        under BIOS what EDD reports for drive 0x80, which SeaBIOS assigns to the first
        disk in boot order. EDD has no CD-ROMs, so for a CD-ROM it is the drive that
        holds the booted image.
        """
        if "root_disk" in self.boot_facts:
            disks = [d for d in self.disks if d.name == self.boot_facts["root_disk"]]
        elif self.firmware == "uefi":
            option = firmware.BootOption.parse(self.boot_facts.get("boot_option", ""))
            disks = [d for d in self.disks if option.names(d.address, d.signature)]
        elif self.medium == "cdrom":
            label = f"{self.image} {self.build}"
            disks = [d for d in self.disks if d.is_cdrom and d.label == label]
        else:
            signature = self.boot_facts.get("edd_signature", "")
            disks = [d for d in self.disks if d.signature and d.signature == signature]
            path = address_of(self.boot_facts.get("edd_path", ""))
            if path:
                disks = [d for d in disks if f"{d.address}/".startswith(f"{path}/")]
        return disks[0] if len(disks) == 1 else None


def parse(text: str) -> list[Inventory]:
    """Return the complete inventories in a console's output, oldest first.

    A guest prints each line twice. If a kernel message has torn one copy, or one copy
    is missing, the other copy is used. Incomplete inventories are left out.
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
            continue  # The line is torn; the other copy is whole.
        if not _is_fact(index, fact):
            continue
        # The same number with different content comes from the next boot.
        if current != (sequence, count) or lines.get(index, fact) != fact:
            if current:
                yield *current, lines
            current, lines = (sequence, count), {}
        # Lines without the first one may be the end of an earlier boot.
        if lines or index == 1:
            lines[index] = fact
    if current:
        yield *current, lines


def _is_fact(index: int, fact: dict[str, Any]) -> bool:
    """Return False for a line whose number belongs to another line.

    If a guest is destroyed while it prints, the line of the next boot may continue the
    line that was begun.
    """
    is_boot = fact.get("k") == "boot"
    return is_boot is (index == 1) and (is_boot or {"k", "path"} <= fact.keys())


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
        # A drive without a medium reports a size, but has no first sectors ("head").
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
        carrier=fact.get("carrier", ""),
        ids=fact.get("id", ""),
        subsystem=fact.get("sub", ""),
        pci_class=fact.get("class", ""),
        driver=fact.get("driver", ""),
        product=fact.get("product", ""),
    )


def _signature(head: str) -> str:
    """Return a disk signature as the EDD driver prints it, or "" if there is none."""
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
            # Each hub on the path repeats the ports before it; keep the last part.
            if parts and parts[-1].startswith("usb:"):
                parts.pop()
            parts.append(f"usb:{match[1]}")
        elif match := _SCSI.fullmatch(part):
            parts.append(match[1])
    return "/".join(parts) or path.partition("/block/")[0]
