# SPDX-License-Identifier: Apache-2.0
"""Loop devices that the kernel removes when no process has them open."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
from pathlib import Path

# linux/loop.h
LOOP_SET_CAPACITY = 0x4C07
LOOP_CONFIGURE = 0x4C0A
LOOP_CTL_GET_FREE = 0x4C82
LO_FLAGS_READ_ONLY = 1
LO_FLAGS_AUTOCLEAR = 4
LOOP_MAJOR = 7
# struct loop_config: fd, block_size, a struct loop_info64 with only lo_flags and
# lo_file_name set, and eight reserved words.
_CONFIG = struct.Struct("=II 5Q 3I I 64s 64s 32s 2Q 8Q")

_RACE_RETRIES = 50


class LoopDevice:
    """A loop device held open by this process.

    The kernel removes the device at its last close. So no device is left when this
    process and the guests have ended, however they end. A device that a guest has open
    survives a restart of this process.
    """

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    @classmethod
    def attach(cls, backing: Path, *, read_only: bool = False) -> LoopDevice:
        """Return a new loop device for the file ``backing``.

        :raises OSError: if the kernel refuses; EBUSY if other processes were always
            faster to take the free device
        """
        access = os.O_RDONLY if read_only else os.O_RDWR
        backing_fd = os.open(backing, access | os.O_CLOEXEC)
        try:
            for _ in range(_RACE_RETRIES):
                device = cls._configure_free(backing_fd, backing, access)
                if device is not None:
                    return device
        finally:
            os.close(backing_fd)
        raise OSError(errno.EBUSY, "no free loop device", str(backing))

    @classmethod
    def _configure_free(
        cls, backing_fd: int, backing: Path, access: int
    ) -> LoopDevice | None:
        path = _free_node()
        flags = LO_FLAGS_AUTOCLEAR
        if access == os.O_RDONLY:
            flags |= LO_FLAGS_READ_ONLY
        name = os.fsencode(backing)[:63]
        config = _CONFIG.pack(backing_fd, 0, *[0] * 8, flags, name, b"", b"", *[0] * 10)
        fd = os.open(path, access | os.O_CLOEXEC)
        try:
            fcntl.ioctl(fd, LOOP_CONFIGURE, config)
        except OSError as error:
            os.close(fd)
            if error.errno == errno.EBUSY:  # another process was faster
                return None
            raise
        return cls(path, fd)

    @classmethod
    def find(cls, backing: Path) -> LoopDevice | None:
        """Return the existing loop device for ``backing``, or None."""
        for entry in Path("/sys/block").glob("loop*/loop/backing_file"):
            if not _names(entry, backing):
                continue
            path = Path("/dev", entry.parts[3])
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            if _names(entry, backing):  # still true, and now the device cannot go
                return cls(path, fd)
            os.close(fd)
        return None

    def flush(self) -> None:
        """Write the data that the kernel has cached to the backing file."""
        os.fsync(self._fd)

    def resize(self) -> None:
        """Make the device as large as its backing file is now."""
        fcntl.ioctl(self._fd, LOOP_SET_CAPACITY)

    def users(self) -> list[int]:
        """Return the pids of other processes that have the device open."""
        number = os.fstat(self._fd).st_rdev
        mine = str(os.getpid())
        return [
            int(process.name)
            for process in Path("/proc").glob("[0-9]*")
            if process.name != mine and _has_open(process, number)
        ]

    def close(self) -> None:
        """Close the device; the kernel removes it if no other process has it open."""
        os.close(self._fd)


def _names(entry: Path, backing: Path) -> bool:
    try:
        return Path(entry.read_text().rstrip("\n")) == backing
    except OSError:  # the device was removed in the meantime
        return False


def _free_node() -> Path:
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
    finally:
        os.close(control)
    path = Path(f"/dev/loop{number}")
    # The kernel does not add nodes to a private /dev.
    with contextlib.suppress(FileExistsError):
        os.mknod(path, 0o660 | stat.S_IFBLK, os.makedev(LOOP_MAJOR, number))
    return path


def _has_open(process: Path, number: int) -> bool:
    try:
        entries = list((process / "fd").iterdir())
    except OSError:  # the process has ended
        return False
    for entry in entries:
        with contextlib.suppress(OSError):
            status = entry.stat()
            if stat.S_ISBLK(status.st_mode) and status.st_rdev == number:
                return True
    return False
