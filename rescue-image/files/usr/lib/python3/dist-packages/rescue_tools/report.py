# SPDX-License-Identifier: Apache-2.0
"""rescue-report: say what keeps a server from booting. Nothing is changed.

A server that is not mounted is mounted read-only for the report, without a replay of
its journals.
"""

import contextlib
import io
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from rescue_tools import TARGET, RescueError, boot, fstab, journal
from rescue_tools.commands import Commands
from rescue_tools.disks import Device, Disks, read, size_of
from rescue_tools.findings import Finding, Grade, note, ok, problem
from rescue_tools.mount import Mounter, parser_of, unmount

_FULL = 0.95
_EXT = ("ext2", "ext3", "ext4")


def fstab_findings(
    root: Path, disks: Disks, beside: Device | None
) -> Iterator[Finding]:
    """Yield the entries of the server's fstab that do not resolve."""
    entries = fstab.read(root)
    if not entries:
        yield note("the server has no /etc/fstab, or an empty one")
    count = 0
    for entry in entries:
        if not entry.is_local:
            continue
        what = f"/etc/fstab: {entry.source} for {entry.point}"
        device = fstab.device_for(entry.source, disks, beside)
        if device is None:
            grade = note if entry.may_fail else problem
            yield grade(
                f"{what} is not on any disk of the server",
                _fstab_hint(entry, disks),
            )
        elif entry.filesystem not in ("auto", device.filesystem):
            yield problem(
                f"{what}: {device.path} holds {device.filesystem or 'nothing'}"
                f", not {entry.filesystem}"
            )
        elif (
            not entry.is_swap
            and entry.point.startswith("/")
            and not _is_folder(root, entry.point)
        ):
            yield note(f"{what}: the folder {entry.point} does not exist")
        else:
            count += 1
    if count:
        yield ok(f"{count} entries of /etc/fstab are on disks of the server")


def _fstab_hint(entry: fstab.Entry, disks: Disks) -> str:
    if entry.may_fail:
        return ""
    lines = [
        "A boot waits for it, and then stops in emergency mode. Correct the entry,"
    ]
    lines.append("comment it out, or add the option nofail.")
    candidates = [
        f"{device.path} (UUID={device.uuid})"
        for device in disks.devices()
        if device.uuid and device.filesystem == entry.filesystem
    ]
    if candidates:
        lines.append(f"Devices with {entry.filesystem}: {', '.join(candidates)}")
    return "\n".join(lines)


def _is_folder(root: Path, point: str) -> bool:
    place = root / point.lstrip("/")
    # What an absolute link means in the server cannot be seen from here.
    return place.is_symlink() or place.is_dir()


def state_findings(disks: Disks, commands: Commands) -> Iterator[Finding]:
    """Yield which ext file systems have recorded errors."""
    for device in disks.devices():
        if device.filesystem not in _EXT:
            continue
        for line in commands.look("dumpe2fs", "-h", device.path).splitlines():
            name, _, value = line.partition(":")
            if name == "Filesystem state" and "errors" in value:
                yield problem(
                    f"the file system on {device.path} has errors",
                    f"rescue-umount; fsck.ext4 -f {device.path}",
                )


def full_findings(points: list[Path], root: Path) -> Iterator[Finding]:
    """Yield which mounted file systems of the server are full."""
    is_full = False
    for point in points:
        place = f"/{point.relative_to(root)}" if point != root else "/"
        usage = os.statvfs(point)
        for what, total, free in (
            ("full", usage.f_blocks, usage.f_bavail),
            ("out of inodes", usage.f_files, usage.f_favail),
        ):
            if total and free < total * (1 - _FULL):
                is_full = True
                left = size_of(usage.f_bavail * usage.f_frsize)
                yield problem(
                    f"the file system of {place} is {what}"
                    f" ({100 - 100 * free // total} % used, {left} free)",
                    f"du -xh {point} | sort -h | tail",
                )
    if points and not is_full:
        yield ok(f"{len(points)} mounted file systems have room")


def login_findings(root: Path) -> Iterator[Finding]:
    """Yield whether anybody can log in to the server."""
    try:
        lines = (root / "etc/shadow").read_text(errors="replace").splitlines()
        accounts = (root / "etc/passwd").read_text(errors="replace").splitlines()
    except OSError:
        yield problem("the server has no /etc/passwd or no /etc/shadow")
        return
    names = {
        line.split(":")[0]
        for line in lines
        if line.count(":") > 1 and line.split(":")[1].startswith("$")
    }
    for account in accounts:
        fields = account.split(":")
        if len(fields) < 7 or fields[6].endswith(("nologin", "false")):
            continue
        keys = root / fields[5].lstrip("/") / ".ssh/authorized_keys"
        with contextlib.suppress(OSError):
            if keys.stat().st_size:
                names.add(fields[0])
    if names:
        yield ok(f"accounts with a password or SSH keys: {', '.join(sorted(names))}")
    else:
        yield problem(
            "no account has a password or SSH keys",
            "rescue-mount; chroot /mnt/server passwd root",
        )


def mounted_points(root: Path, mounts: str) -> list[tuple[Path, str]]:
    """Return what is mounted at and below a root, with its device.

    What rescue-mount binds there for chroot is left out.

    :param mounts: the content of /proc/mounts
    """
    points = []
    for line in mounts.splitlines():
        device, point = line.split()[:2]
        path = Path(point)
        is_below = path == root or root in path.parents
        if is_below and device.startswith("/dev/") and stat_is_block(device):
            top = path.relative_to(root).parts[:1]
            if top not in (("dev",), ("proc",), ("sys",), ("run",)):
                points.append((path, device))
    return points


def stat_is_block(path: str) -> bool:
    """Return True if a path is a block device."""
    try:
        return stat.S_ISBLK(Path(path).stat().st_mode)
    except OSError:
        return False


def findings(root: Path, commands: Commands) -> Iterator[Finding]:
    """Yield everything that there is to say about the server that is mounted."""
    disks = read(commands)
    points = mounted_points(root, Path("/proc/mounts").read_text())
    paths = [device for point, device in points if point == root]
    devices = {device.path: device for device in disks.devices()}
    device = devices.get(paths[-1]) if paths else None
    disk = disks.disk_of(device.path) if device else None
    name = _name_of(root)
    yield ok(f"{name or 'a system without a name'} is on {paths[-1] if paths else '?'}")
    yield from state_findings(disks, commands)
    yield from fstab_findings(root, disks, device)
    yield from boot.kernels(root)
    yield from boot.loader(root, disk, boot.is_uefi())
    yield from full_findings([point for point, _ in points], root)
    yield from login_findings(root)
    yield from journal.last_boot(root, commands)


def _name_of(root: Path) -> str:
    for name in ("usr/lib/os-release", "etc/os-release"):
        with contextlib.suppress(OSError):
            for line in (root / name).read_text(errors="replace").splitlines():
                if line.startswith("PRETTY_NAME="):
                    return line.partition("=")[2].strip("\"'")
    return ""


def _report(commands: Commands) -> int:
    problems = 0
    for finding in findings(TARGET, commands):
        print(finding, flush=True)
        problems += finding.grade is Grade.PROBLEM
    print(f"\n{problems} problems" if problems != 1 else "\n1 problem")
    return 1 if problems else 0


def main(arguments: list[str] | None = None) -> int:
    """Print the report; return 1 if there is a problem, 2 if there is no report."""
    device = parser_of("rescue-report", __doc__).parse_args(arguments).device
    commands = Commands()
    if os.path.ismount(TARGET):
        return _report(commands)
    try:
        # The commands of rescue-mount would hide the report.
        output = io.StringIO()
        try:
            with contextlib.redirect_stdout(output):
                Mounter(commands, TARGET, is_read_only=True).mount(device)
        finally:
            for line in output.getvalue().splitlines():
                if line.startswith("!"):
                    print(f"{Grade.NOTE.value:<8} {line.removeprefix('! ')}")
        return _report(commands)
    except RescueError as error:
        print(f"rescue-report: {error}", file=sys.stderr)
        return 2
    finally:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.suppress(RescueError),
        ):
            unmount(commands, TARGET)
