# SPDX-License-Identifier: Apache-2.0
"""What the server mounts: its fstab, and which device each entry means."""

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path

from rescue_tools.disks import Device, Disks

_NETWORK_TYPES = (
    "nfs",
    "nfs4",
    "cifs",
    "ceph",
    "glusterfs",
    "9p",
    "sshfs",
    "fuse.sshfs",
)
_VIRTUAL_TYPES = ("proc", "sysfs", "tmpfs", "devpts", "devtmpfs", "cgroup2", "none")
#: Tags of fstab, and by which attribute of a device each goes.
_TAGS = {
    "UUID": "uuid",
    "LABEL": "label",
    "PARTUUID": "partuuid",
    "PARTLABEL": "partlabel",
}
_LINKS = re.compile(r"/dev/disk/by-(uuid|label|partuuid|partlabel)/(.+)")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A line of fstab."""

    source: str
    point: str
    filesystem: str
    options: tuple[str, ...]

    @property
    def is_local(self) -> bool:
        """Return True if the entry is for a device of the server."""
        return (
            self.filesystem not in (*_NETWORK_TYPES, *_VIRTUAL_TYPES)
            and "_netdev" not in self.options
            and "bind" not in self.options
            and (self.source.startswith("/dev/") or "=" in self.source)
        )

    @property
    def is_swap(self) -> bool:
        """Return True if the entry is for swap space."""
        return self.filesystem == "swap"

    @property
    def may_fail(self) -> bool:
        """Return True if a boot goes on without this entry."""
        return bool({"nofail", "noauto"}.intersection(self.options))

    @property
    def subvolume(self) -> str:
        """Return the subvolume of btrfs that the entry names, or an empty string."""
        for option in self.options:
            if option.startswith("subvol="):
                return option.removeprefix("subvol=").lstrip("/")
        return ""


def read(root: Path) -> list[Entry]:
    """Return the entries of the fstab below a mounted root; none if it has no fstab."""
    try:
        text = (root / "etc/fstab").read_text(errors="replace")
    except OSError:
        return []
    return parse(text)


def parse(text: str) -> list[Entry]:
    """Return the entries of an fstab."""
    entries = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0].startswith("#"):
            continue
        source, point = (_unescape(word) for word in words[:2])
        filesystem = words[2] if len(words) > 2 else "auto"
        options = tuple(words[3].split(",")) if len(words) > 3 else ("defaults",)
        entries.append(Entry(source.replace('"', ""), point, filesystem, options))
    return entries


def _unescape(word: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), word)


def device_for(source: str, disks: Disks, beside: Device | None) -> Device | None:
    """Return the device that an entry means; None if the server has no such device.

    The rescue system's own disk is never meant.

    :param source: the first field of an entry
    :param beside: the server's root. Of several matches, one on the same disk wins
    """
    matches = list(_matches(source, disks))
    if beside is not None:
        disk = disks.disk_of(beside.path)
        for device in matches:
            if disk is not None and disks.disk_of(device.path) == disk:
                return device
    return matches[0] if matches else None


def _matches(source: str, disks: Disks) -> Iterable[Device]:
    if match := _LINKS.fullmatch(source):
        source = f"{match[1].upper()}={match[2]}"
    tag, separator, value = source.partition("=")
    if separator and tag in _TAGS:
        attribute = _TAGS[tag]
        is_uuid = "UUID" in tag
        for device in disks.devices():
            own = getattr(device, attribute)
            if own == value or (is_uuid and own and own.lower() == value.lower()):
                yield device
        return
    for device in disks.devices():
        if source in (device.path, f"/dev/{device.name}", *_mapper_names(device)):
            yield device


def _mapper_names(device: Device) -> tuple[str, ...]:
    """Return the /dev/GROUP/VOLUME name of a logical volume in /dev/mapper."""
    if device.kind != "lvm" or not device.path.startswith("/dev/mapper/"):
        return ()
    name = device.path.removeprefix("/dev/mapper/")
    # A hyphen of a name is doubled; the single one is between group and volume.
    parts = re.split(r"(?<!-)-(?!-)", name, maxsplit=1)
    return ("/dev/" + "/".join(part.replace("--", "-") for part in parts),)
