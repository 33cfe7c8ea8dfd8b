# SPDX-License-Identifier: Apache-2.0
"""How a QEMU has opened files and block devices, as the kernel sees it."""

import contextlib
import os
import stat
from pathlib import Path

READ_ONLY, READ_WRITE = "read-only", "read-write"

# What a path leads to: whether it is a block device, and its numbers.
_Identity = tuple[bool, int, int]


class OpenFiles:
    """The files and block devices that a guest's QEMU has open.

    They are known by their numbers and not by their paths: QEMU has another mount
    namespace, and may run in another container.
    """

    def __init__(self, domain: str) -> None:
        """Look at them; nothing is known unless this is root, and the guest runs.

        :param domain: libvirt's name of the guest
        """
        self._modes: dict[_Identity, str] = {}
        try:
            pid = _pid_of(domain)
            descriptors = [*Path(f"/proc/{pid}/fd").iterdir()]
        except (OSError, ValueError):
            return
        for descriptor in descriptors:
            with contextlib.suppress(OSError):
                identity = identity_of(descriptor.stat())
                information = Path(f"/proc/{pid}/fdinfo", descriptor.name).read_text()
                flags = int(information.partition("flags:")[2].split()[0], 8)
                is_read_only = flags & os.O_ACCMODE == os.O_RDONLY
                # One of several descriptors is enough to write.
                if self._modes.get(identity) != READ_WRITE:
                    self._modes[identity] = READ_ONLY if is_read_only else READ_WRITE

    def mode(self, path: str | None) -> str | None:
        """Return how a path is opened, None if it is not, or if that is unknown."""
        if path is not None:
            with contextlib.suppress(OSError):
                return self._modes.get(identity_of(Path(path).stat()))
        return None


def identity_of(status: os.stat_result) -> _Identity:
    """Return what makes two paths the same file, or the same block device."""
    if stat.S_ISBLK(status.st_mode):
        # libvirt makes another node for each QEMU.
        return True, os.major(status.st_rdev), os.minor(status.st_rdev)
    return False, status.st_dev, status.st_ino


def _pid_of(domain: str) -> int:
    return int(Path(f"/run/libvirt/qemu/{domain}.pid").read_text())
