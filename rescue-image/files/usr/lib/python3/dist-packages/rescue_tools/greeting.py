# SPDX-License-Identifier: Apache-2.0
"""rescue-disks: name the server's disks by what is on them, and what to type next."""

import argparse
from collections.abc import Iterator

from rescue_tools import TARGET
from rescue_tools.commands import Commands
from rescue_tools.disks import ROOT_TYPES, Device, Disks, read, size_of, volume_groups

_MEANINGS = {
    "swap": "swap space",
    "LVM2_member": "LVM",
    "crypto_LUKS": "encrypted (LUKS)",
    "linux_raid_member": "member of a RAID array",
    "iso9660": "ISO image",
}
_NEXT = f"""\
What to type next
  rescue-report        say what keeps the server from booting; changes nothing
  rescue-mount         mount the server on {TARGET}, ready for chroot
  rescue-umount        unmount it; do this before you unrescue the server
  rescue-disks         print this list again
"""
_NO_DISK = "The server has no disk that this system can see.\n"


def meaning_of(device: Device) -> str:
    """Return in a few words what is on a device."""
    if device.is_config_drive:
        return "config drive of this rescue"
    what = _MEANINGS.get(device.filesystem, "")
    if not what and device.filesystem:
        what = f"{device.filesystem} file system"
    if device.filesystem == "vfat" and device.purpose == "EFI System":
        what = "EFI system partition"
    if not what and device.purpose == "BIOS boot":
        what = "boot loader (BIOS)"
    if not what and device.children:
        return f"{len(device.children)} partitions"
    words = [what or "nothing that is known"]
    if device.label:
        words.append(f'"{device.label}"')
    if device.mounted:
        words.append(f"on {', '.join(device.mounted)}")
    return " ".join(words)


def _rows(disks: Disks) -> Iterator[tuple[str, str, str]]:
    for disk in disks.server:
        what = meaning_of(disk)
        if disk.serial and not disk.is_config_drive:
            what += f", serial {disk.serial}"
        yield disk.path, size_of(disk.size), what
        for depth, device in _below(disk, 1):
            yield "  " * depth + device.path, size_of(device.size), meaning_of(device)


def _below(device: Device, depth: int) -> Iterator[tuple[int, Device]]:
    for child in device.children:
        yield depth, child
        yield from _below(child, depth + 1)


def warnings(disks: Disks) -> list[str]:
    """Return what may lead somebody to the wrong disk."""
    messages = []
    own = {device.path for device in disks.rescue.walk()} if disks.rescue else set()
    for kind, value, paths in disks.shared_identities():
        if own.intersection(paths):
            others = ", ".join(path for path in paths if path not in own)
            messages.append(
                f"{others} has the {kind} {value} of this rescue system's disk. The"
                f" rescue system runs from {disks.rescue.path} nevertheless."
            )
        else:
            messages.append(
                f"{' and '.join(paths)} have the same {kind} {value}. Use their paths"
                f" in commands, not /dev/disk/by-{kind}."
            )
    return messages


def text(disks: Disks, groups: dict[str, list[str]], is_greeting: bool) -> str:
    """Return the list of the server's disks.

    :param groups: the logical volumes of each volume group
    :param is_greeting: also say what to type next
    """
    lines = []
    if disks.rescue:
        lines += [
            f"This is the rescue system, on {disks.rescue.path}."
            " All other disks are the server's.",
            "Nothing of the server is mounted or activated by itself.",
            "",
        ]
    rows = list(_rows(disks))
    if not rows:
        lines.append(_NO_DISK)
    left = max((len(name) for name, _, _ in rows), default=0)
    lines += [f"  {name:<{left}}  {size:>5}  {what}" for name, size, what in rows]
    inactive = {
        group: volumes
        for group, volumes in groups.items()
        if not any(device.kind == "lvm" for device in disks.devices())
    }
    lines += [
        f"  volume group {group}, not active: {', '.join(volumes)}"
        for group, volumes in inactive.items()
    ]
    messages = warnings(disks)
    if messages:
        lines += ["", *(f"WARNING: {message}" for message in messages)]
    roots = [device for device in disks.devices() if device.filesystem in ROOT_TYPES]
    locked = [
        device.path
        for device in disks.devices()
        if device.filesystem == "crypto_LUKS" and not device.children
    ]
    if locked and not roots:
        lines += ["", f"rescue-mount asks for the passphrase of {', '.join(locked)}."]
    if is_greeting:
        lines += ["", _NEXT.rstrip()]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Print the disks; return the status of the command."""
    parser = argparse.ArgumentParser(prog="rescue-disks", description=__doc__)
    parser.add_argument("--greeting", action="store_true", help="say what to type next")
    options = parser.parse_args(arguments)
    commands = Commands()
    disks = read(commands)
    print(text(disks, volume_groups(commands), options.greeting), end="")
    return 0
