# SPDX-License-Identifier: Apache-2.0
"""Faults that are real: a killed process, a full filesystem, a libvirt out of reach.

Each strikes in the process of a nova-compute, which has no good of it any more.
"""

import abc
import errno
import os
import signal
import socket
from pathlib import Path
from typing import Any
from unittest import mock

import libvirt

_LIBVIRTS_SOCKET = "/run/libvirt/libvirt-sock"
_NO_SOCKET = "qemu+unix:///system?socket=/nonexistent/libvirt-sock"
_CHUNKS = (1024 * 1024, 4096, 1)
#: The steps that need libvirt, or have it write.
LIBVIRT_STEPS = frozenset(
    (
        "define a domain",
        "a domain to be started is defined",
        "start a domain",
        "plug the NICs",
        "power off",
    )
)


class Fault(abc.ABC):
    """One kind of fault, for a nova-compute whose instances are in ``instances``."""

    #: The steps at which it is tried; None: at all.
    steps: frozenset[str] | None = LIBVIRT_STEPS
    #: What the process ends with; None: it may have got on all the same.
    code: int | None = None

    def __init__(self, instances: Path) -> None:
        self.instances = instances

    @abc.abstractmethod
    def strike(self, point: str) -> None:
        """Do it, in the process of nova-compute."""

    def over(self) -> None:  # noqa: B027 - most end with the process
        """Have it be over, when that process has ended."""


class Kill(Fault):
    """The process is killed."""

    steps = None
    code = -signal.SIGKILL

    def strike(self, _point: str) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Error(Fault):
    """One step fails; all else works."""

    def strike(self, point: str) -> None:
        raise RuntimeError(f"fault {point}")


class DiskFull(Fault):
    """The filesystem of the instances is full, for nova-compute, libvirt and QEMU."""

    @property
    def _filler(self) -> Path:
        return self.instances / "filler"

    def strike(self, _point: str) -> None:
        with self._filler.open("wb", buffering=0) as stream:
            for chunk in _CHUNKS:
                try:
                    while stream.write(bytes(chunk)):
                        pass
                except OSError as exc:
                    if exc.errno != errno.ENOSPC:
                        raise

    def over(self) -> None:
        self._filler.unlink(missing_ok=True)


class LibvirtLost(Fault):
    """The connection to libvirt breaks, and no other can be had."""

    def __init__(self, instances: Path) -> None:
        super().__init__(instances)
        # The test's own, which nova-compute has from it and does not use.
        self._inherited = _files()

    def strike(self, _point: str) -> None:
        connect = libvirt.openAuth

        def refuse(_uri: str, *args: Any) -> Any:
            return connect(_NO_SOCKET, *args)

        # For as long as the process lives.
        mock.patch.object(libvirt, "openAuth", refuse).start()
        assert sum(_cut(number) for number in _files() - self._inherited)


def _files() -> set[int]:
    """Return the numbers of this process's open files."""
    return {int(path.name) for path in Path("/proc/self/fd").iterdir()}


def _cut(number: int) -> bool:
    """Shut a file down, if it is a connection to libvirt; return whether it is."""
    try:
        with socket.socket(fileno=os.dup(number)) as connection:
            if connection.getpeername() == _LIBVIRTS_SOCKET:
                connection.shutdown(socket.SHUT_RDWR)
                return True
    except OSError:
        pass  # it is closed, no socket, or not connected
    return False


FAULTS: dict[str, type[Fault]] = {
    "SIGKILL": Kill,
    "exception": Error,
    "disk full": DiskFull,
    "libvirt lost": LibvirtLost,
}
