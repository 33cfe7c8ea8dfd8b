# SPDX-License-Identifier: Apache-2.0
"""The TCP ports that Nova gives to serial consoles."""

import errno
import socket

from nova.console import serial
from oslo_concurrency import lockutils


def claim_port(host: str, port: int) -> bool:
    """Claim a port; return False if it belongs to another server or is in use.

    Nova's acquire_port only returns some port, and takes no wish.
    """
    with lockutils.lock(serial.SERIAL_LOCK):
        if (host, port) in serial.ALLOCATED_PORTS or _is_in_use(host, port):
            return False
        serial.ALLOCATED_PORTS.add((host, port))
        return True


def acquire_port(host: str) -> int:
    """Return a free port, which is claimed now.

    :raises nova.exception.SocketPortRangeExhaustedException: if there is none
    """
    return int(serial.acquire_port(host))


def release_port(host: str, port: int) -> None:
    """Let other servers have a port; one that nobody has claimed is no error."""
    serial.release_port(host=host, port=port)


def _is_in_use(host: str, port: int) -> bool:
    with socket.socket() as probe:
        # As QEMU does: connections that were closed a moment ago do not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            # Any other error is better reported by libvirt.
            return exc.errno == errno.EADDRINUSE
    return False
