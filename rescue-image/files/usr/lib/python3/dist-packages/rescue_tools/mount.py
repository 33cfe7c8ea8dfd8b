# SPDX-License-Identifier: Apache-2.0
"""rescue-mount: mount the server's file systems as the server does, ready for chroot.

Logical volumes are activated and LUKS devices are opened as needed. The root is found
by its /etc/fstab, the rest by what that says. Every command that changes something is
printed. rescue-umount takes all of it back.
"""

import argparse
import os
import sys
from pathlib import Path

from rescue_tools import TARGET, RescueError, fstab
from rescue_tools.commands import Commands
from rescue_tools.disks import ROOT_TYPES, Device, Disks, read, volume_groups

#: A mapping of LUKS that rescue-umount may close.
_MAPPING = "rescue-"
#: The subvolumes in which installers put a root.
_SUBVOLUMES = ("", "@", "@rootfs", "root", "@/.snapshots/1/snapshot")
#: Read-only alone would still replay a journal.
_NO_REPLAY = {
    "ext2": ("noload",),
    "ext3": ("noload",),
    "ext4": ("noload",),
    "xfs": ("norecovery",),
    "btrfs": ("rescue=nologreplay",),
}
_BOUND = ("dev", "proc", "sys", "run")


def options_for(device: Device, is_read_only: bool, *more: str) -> str:
    """Return the options to mount a device with.

    :param is_read_only: nothing may be written, not even a journal be replayed
    """
    options = ["ro", *_NO_REPLAY.get(device.filesystem, ())] if is_read_only else ["rw"]
    if device.filesystem == "xfs":
        options.append("nouuid")  # A copy of it may be mounted.
    return ",".join([*options, *(option for option in more if option)])


class Mounter:
    """Mounts one server at one place."""

    def __init__(self, commands: Commands, target: Path, is_read_only: bool) -> None:
        self._commands = commands
        self._target = target
        self._is_read_only = is_read_only

    def mount(self, name: str | None) -> None:
        """Mount the server.

        :param name: the device of the root; None to look for it
        :raises RescueError: unless one root is found and can be mounted
        """
        if os.path.ismount(self._target):
            raise RescueError(f"{self._target} is in use: run rescue-umount first")
        self._target.mkdir(parents=True, exist_ok=True)
        self._activate_groups()
        root, subvolume = self._root(name)
        option = f"subvol={subvolume}" if subvolume else ""
        # Services of this system have mount namespaces, which get a copy of each mount.
        # A copy with mounts below survives the unmount, and keeps the device in use.
        self._mount(root, self._target, option, propagation=("--make-private",))
        self._mount_others(root)
        if not self._is_read_only:
            self._bind()

    def _activate_groups(self) -> None:
        for group in volume_groups(self._commands):
            self._commands.attempt("vgchange", "--activate", "y", group)
        self._commands.look("udevadm", "settle", "--timeout=30")

    def _root(self, name: str | None) -> tuple[Device, str]:
        disks = read(self._commands)
        if name is not None:
            return self._named(disks, name)
        roots = self._roots(disks)
        if not roots:
            locked = [
                device
                for device in disks.devices()
                if device.filesystem == "crypto_LUKS" and not device.children
            ]
            # All of them: a volume group may need several.
            opened = [device for device in locked if self._unlock(device)]
            if opened:
                self._activate_groups()
                roots = self._roots(read(self._commands))
        if not roots:
            raise RescueError(
                "no device of the server holds a root file system with /etc/fstab or"
                " /etc/os-release. Look at rescue-disks, and name one: rescue-mount"
                " DEVICE. A RAID array has to be assembled first: mdadm --assemble"
                " --config=partitions --uuid=UUID /dev/md127"
            )
        if len(roots) > 1:
            names = ", ".join(dict.fromkeys(device.path for device, _ in roots))
            raise RescueError(f"more than one device holds a root: name one of {names}")
        return roots[0]

    def _named(self, disks: Disks, name: str) -> tuple[Device, str]:
        device = fstab.device_for(str(Path(name)), disks, None)
        if device is None:
            raise RescueError(f"the server has no device {name}: look at rescue-disks")
        if device.filesystem == "crypto_LUKS" and not device.children:
            if not self._unlock(device):
                raise RescueError(f"{name} stays locked")
            self._activate_groups()
            disks = read(self._commands)
            device = next(one for one in disks.devices() if one.path == device.path)
        for inner in device.walk():
            if inner.filesystem in ROOT_TYPES:
                subvolumes = self._look_into(inner)
                return inner, subvolumes[0] if subvolumes else ""
        raise RescueError(f"{name} has no file system that can be a root")

    def _roots(self, disks: Disks) -> list[tuple[Device, str]]:
        roots: dict[str, tuple[Device, str]] = {}
        for device in disks.devices():
            if device.filesystem not in ROOT_TYPES:
                continue
            for subvolume in self._look_into(device)[:1]:
                # The members of a btrfs are one file system.
                is_btrfs = device.filesystem == "btrfs"
                key = device.uuid if is_btrfs and device.uuid else device.path
                roots.setdefault(key, (device, subvolume))
        return list(roots.values())

    def _look_into(self, device: Device) -> list[str]:
        """Return the subvolumes that hold a root; "" is the device itself."""
        if device.filesystem == "btrfs":
            self._commands.attempt("btrfs", "device", "scan")
        options = [*_NO_REPLAY[device.filesystem], "ro", "nodev", "nosuid", "noexec"]
        if device.filesystem == "xfs":
            options.append("nouuid")
        if device.filesystem == "btrfs":
            options.append("subvolid=5")
        place = str(self._target)
        if not self._commands.attempt(
            "mount", "-o", ",".join(options), device.path, place
        ):
            return []
        try:
            names = _SUBVOLUMES if device.filesystem == "btrfs" else _SUBVOLUMES[:1]
            return [name for name in names if is_root(self._target / name)]
        finally:
            self._commands.run("umount", place)

    def _unlock(self, device: Device) -> bool:
        return self._commands.attempt(
            "cryptsetup",
            "open",
            *(("--readonly",) if self._is_read_only else ()),
            device.path,
            _MAPPING + device.name,
        )

    def _mount(
        self,
        device: Device,
        place: Path,
        *options: str,
        propagation: tuple[str, ...] = (),
    ) -> None:
        self._commands.run(
            "mount",
            *propagation,
            "-o",
            options_for(device, self._is_read_only, *options),
            device.path,
            str(place),
        )

    def _mount_others(self, root: Device) -> None:
        """Mount what the server's fstab names besides the root; report what fails."""
        entries = [
            entry
            for entry in fstab.read(self._target)
            if entry.is_local
            and not entry.is_swap
            and entry.point.startswith("/")
            and entry.point != "/"
            and "noauto" not in entry.options
        ]
        disks = read(self._commands)
        for entry in sorted(entries, key=lambda entry: entry.point.count("/")):
            device = fstab.device_for(entry.source, disks, root)
            place = self._place(entry.point)
            if device is None or not device.filesystem:
                print(f"! {entry.point} stays out: no device is {entry.source}")
            elif place is None:
                print(f"! {entry.point} stays out: the server has no such folder")
            else:
                subvolume = f"subvol={entry.subvolume}" if entry.subvolume else ""
                try:
                    self._mount(device, place, subvolume)
                except RescueError as error:
                    print(f"! {entry.point} stays out: {error}")

    def _place(self, point: str) -> Path | None:
        """Return where a mount point is below the target; None if it is not a folder.

        An absolute link of the server would lead into the rescue system.
        """
        place = self._target
        for part in Path(point).parts[1:]:
            place = place / part
            if part == ".." or place.is_symlink() or not place.is_dir():
                return None
        return place

    def _bind(self) -> None:
        for name in _BOUND:
            place = self._place(f"/{name}")
            if place is None:
                print(f"! /{name} is not bound: the server has no such folder")
                continue
            self._commands.run("mount", "--rbind", f"/{name}", str(place))
            # An umount below the target must not reach this system's mounts.
            self._commands.run("mount", "--make-rslave", str(place))


def is_root(folder: Path) -> bool:
    """Return True if a folder looks like the root of a Linux system."""
    names = ("etc/fstab", "etc/os-release", "usr/lib/os-release")
    return any((folder / name).is_file() for name in names)


def unmount(commands: Commands, target: Path) -> None:
    """Unmount the server, and deactivate and close what is below.

    :raises RescueError: if the server is in use, or something of it stays active
    """
    if os.path.ismount(target):
        try:
            commands.run("umount", "--recursive", str(target))
        except RescueError as error:
            raise RescueError(
                f"{error}. Leave the chroot and the folders below {target};"
                f" fuser -vm {target} lists who uses them"
            ) from error
    # A mapping may be on a logical volume, or below one.
    _close(commands, is_below_volumes=False)
    active = [
        group
        for group in volume_groups(commands)
        if not commands.attempt("vgchange", "--activate", "n", group)
    ]
    active += _close(commands, is_below_volumes=True)
    commands.run("sync")
    if active:
        raise RescueError(
            f"in use: {', '.join(active)}. lsblk shows what is on them; unmount and"
            " close that, then run rescue-umount again"
        )


def _close(commands: Commands, is_below_volumes: bool) -> list[str]:
    """Close mappings of LUKS; return those that stay open."""
    opened = []
    for device in read(commands).devices():
        name = device.path.removeprefix("/dev/mapper/")
        if device.kind != "crypt" or not name.startswith(_MAPPING):
            continue
        if device.filesystem == "LVM2_member" and not is_below_volumes:
            continue
        if not commands.attempt("cryptsetup", "close", name):
            opened.append(name)
    return opened


def parser_of(command: str, description: str | None) -> argparse.ArgumentParser:
    """Return the parser of a command that mounts the server: it takes a device."""
    parser = argparse.ArgumentParser(
        prog=command,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("device", nargs="?", help="the server's root, if not found")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Mount the server; return the status of the command."""
    parser = parser_of("rescue-mount", __doc__)
    parser.add_argument(
        "--read-only", action="store_true", help="write nothing, replay no journal"
    )
    options = parser.parse_args(arguments)
    try:
        Mounter(Commands(), TARGET, options.read_only).mount(options.device)
    except RescueError as error:
        print(f"rescue-mount: {error}", file=sys.stderr)
        return 1
    if options.read_only:
        print(f"The server is on {TARGET}, read-only.")
    else:
        print(f"The server is on {TARGET}. Next: chroot {TARGET}, exit, rescue-umount")
    return 0


def umount_main(arguments: list[str] | None = None) -> int:
    """Unmount the server; return the status of the command."""
    argparse.ArgumentParser(
        prog="rescue-umount", description="Take back what rescue-mount did."
    ).parse_args(arguments)
    try:
        unmount(Commands(), TARGET)
    except RescueError as error:
        print(f"rescue-umount: {error}", file=sys.stderr)
        return 1
    return 0
