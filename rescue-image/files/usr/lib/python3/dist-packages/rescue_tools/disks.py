# SPDX-License-Identifier: Apache-2.0
"""The block devices of the server, as lsblk and LVM describe them."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

from rescue_tools import STATE
from rescue_tools.commands import Commands

# Without NAME, lsblk prints partitions beside their disks, not below them.
_COLUMNS = (
    "NAME,PATH,KNAME,PKNAME,TYPE,SIZE,FSTYPE,LABEL,UUID,PARTUUID,PARTLABEL,PARTTYPENAME,"
    "SERIAL,MODEL,RO,MOUNTPOINTS"
)
#: File systems that can hold the root of a Linux server.
ROOT_TYPES = ("ext4", "xfs", "btrfs", "ext3", "ext2")
CONFIG_DRIVE_LABEL = "config-2"
# An empty floppy drive has a size.
_FLOPPY = "fd"
_IDENTITIES = ("uuid", "label", "partuuid")


@dataclasses.dataclass(frozen=True)
class Device:
    """A disk, a partition, or a device that is made of these."""

    path: str
    name: str
    kind: str
    size: int
    filesystem: str = ""
    label: str = ""
    uuid: str = ""
    partuuid: str = ""
    partlabel: str = ""
    purpose: str = ""
    serial: str = ""
    read_only: bool = False
    mounted: tuple[str, ...] = ()
    children: tuple["Device", ...] = ()

    def walk(self) -> Iterator["Device"]:
        """Yield this device and everything on it."""
        yield self
        for child in self.children:
            yield from child.walk()

    @property
    def is_config_drive(self) -> bool:
        """Return True if Nova made this device to configure the guest."""
        return self.label.lower() == CONFIG_DRIVE_LABEL


@dataclasses.dataclass(frozen=True)
class Disks:
    """The disks of the server, and the disk of the rescue system."""

    server: tuple[Device, ...]
    rescue: Device | None

    def devices(self) -> Iterator[Device]:
        """Yield every device of the server once, without config drives."""
        seen: set[str] = set()
        for disk in self.server:
            for device in disk.walk():
                if device.path not in seen and not device.is_config_drive:
                    seen.add(device.path)
                    yield device

    def disk_of(self, path: str) -> Device | None:
        """Return the first disk of the server that holds a device."""
        for disk in self.server:
            if any(device.path == path for device in disk.walk()):
                return disk
        return None

    def shared_identities(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """Return what several devices call themselves: kind, value, and paths.

        The devices of the rescue system are included.
        """
        holders: dict[tuple[str, str], dict[str, None]] = {}
        own = self.rescue.walk() if self.rescue else ()
        for device in (*own, *self.devices()):
            for kind in _IDENTITIES:
                value = getattr(device, kind)
                # The members of an array or of a btrfs share its UUID and its label.
                is_member = device.filesystem in ("linux_raid_member", "btrfs")
                if value and not (is_member and kind != "partuuid"):
                    holders.setdefault((kind, value), {})[device.path] = None
        return [
            (kind, value, tuple(paths))
            for (kind, value), paths in holders.items()
            if len(paths) > 1
        ]


def read(commands: Commands, state: Path = STATE) -> Disks:
    """Return the disks of this machine.

    :param state: the file in which the initramfs named the rescue system's device
    """
    text = commands.look("lsblk", "--json", "--bytes", "--output", _COLUMNS)
    try:
        own = (state / "device").read_text().strip()
    except FileNotFoundError:
        own = ""
    disks = [
        device
        for entry in json.loads(text or '{"blockdevices": []}')["blockdevices"]
        if (device := _device(entry)).kind in ("disk", "rom")
        and device.size
        and not device.name.startswith(_FLOPPY)
    ]
    rescue = next(
        (disk for disk in disks if any(part.name == own for part in disk.walk())), None
    )
    server = (disk for disk in disks if disk is not rescue)
    return Disks(tuple(server), rescue)


def _device(entry: dict) -> Device:
    def text(key: str) -> str:
        return entry.get(key) or ""

    return Device(
        path=text("path"),
        name=text("kname"),
        kind=text("type"),
        size=int(entry.get("size") or 0),
        filesystem=text("fstype"),
        label=text("label"),
        uuid=text("uuid"),
        partuuid=text("partuuid"),
        partlabel=text("partlabel"),
        purpose=text("parttypename"),
        serial=text("serial"),
        read_only=bool(entry.get("ro")),
        mounted=tuple(point for point in entry.get("mountpoints") or () if point),
        children=tuple(_device(child) for child in entry.get("children") or ()),
    )


def volume_groups(commands: Commands) -> dict[str, list[str]]:
    """Return the logical volumes of each volume group; nothing is activated."""
    text = commands.look(
        "lvs", "--reportformat", "json", "--options", "vg_name,lv_name"
    )
    groups: dict[str, list[str]] = {}
    for report in json.loads(text or '{"report": []}')["report"]:
        for volume in report["lv"]:
            groups.setdefault(volume["vg_name"], []).append(volume["lv_name"])
    return groups


def size_of(count: int) -> str:
    """Return a number of bytes with one of lsblk's units."""
    value = float(count)
    for unit in ("B", "K", "M", "G", "T"):
        if value < 1024 or unit == "T":
            break
        value /= 1024
    return (
        f"{value:.0f}{unit}"
        if value >= 10 or value.is_integer()
        else f"{value:.1f}{unit}"
    )
