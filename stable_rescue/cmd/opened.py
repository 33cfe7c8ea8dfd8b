# SPDX-License-Identifier: Apache-2.0
"""How a QEMU has opened files and block devices, as the kernel sees it."""

import contextlib
import os
from pathlib import Path

READ_ONLY, READ_WRITE = "read-only", "read-write"


def open_modes(domain: str) -> dict[str | None, str]:
    """Return how each path is opened by a guest's QEMU.

    :param domain: libvirt's name of the guest
    :returns: an empty dictionary if only root could look
    """
    modes: dict[str | None, str] = {}
    try:
        pid = _pid_of(domain)
        descriptors = [*Path(f"/proc/{pid}/fd").iterdir()]
    except (OSError, ValueError):
        return modes
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            path = str(descriptor.readlink())
            information = Path(f"/proc/{pid}/fdinfo", descriptor.name).read_text()
            flags = int(information.partition("flags:")[2].split()[0], 8)
            is_read_only = flags & os.O_ACCMODE == os.O_RDONLY
            # One of several descriptors is enough to write.
            if modes.get(path) != READ_WRITE:
                modes[path] = READ_ONLY if is_read_only else READ_WRITE
    return modes


def _pid_of(domain: str) -> int:
    return int(Path(f"/run/libvirt/qemu/{domain}.pid").read_text())
