# SPDX-License-Identifier: Apache-2.0
"""Real faults: a killed process, a full filesystem, a libvirt that is out of reach.

Each strikes in the process of a nova-compute, and ends with that process.
"""

import errno
import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import libvirt

from tests.faults import engine
from tests.faults.places import Place, step_of

_LIBVIRT_SOCKET = "/run/libvirt/libvirt-sock"
_NO_SOCKET = "qemu+unix:///system?socket=/nonexistent/libvirt-sock"
_CHUNKS = (1024 * 1024, 4096, 1)
#: The steps that need libvirt, or make it write.
LIBVIRT_STEPS = frozenset(
    (
        "define a domain",
        "a domain to be started is defined",
        "start a domain",
        "plug the NICs",
        "power off",
    )
)


class Fault(engine.Fault):
    """One kind of fault, for a nova-compute whose instances are in ``instances``."""

    #: The steps at which it is tried; None: all of them.
    steps: ClassVar[frozenset[str] | None] = LIBVIRT_STEPS
    #: The exit code of the process; None: the action may succeed despite the fault.
    code: ClassVar[int | None] = None

    def __init__(self, instances: Path) -> None:
        self.instances = instances

    @classmethod
    def is_tried_at(cls, place: Place, last: bool) -> bool:
        step = step_of(place)
        return super().is_tried_at(place, last) and step in (cls.steps or {step})

    def end(self) -> None:
        """End what the fault leaves behind after the process has ended."""


class Kill(Fault):
    """SIGKILL for the process."""

    steps = None
    code = -signal.SIGKILL

    def strike(self, point: str) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class StepFails(Fault, engine.StepFails):
    """A step that needs libvirt fails; everything else works."""


class DiskFull(Fault):
    """The filesystem of the instances is full for nova-compute, libvirt and QEMU."""

    @property
    def _filler(self) -> Path:
        return self.instances / "filler"

    def strike(self, point: str) -> None:
        with self._filler.open("wb", buffering=0) as stream:
            for chunk in _CHUNKS:
                try:
                    while stream.write(bytes(chunk)):
                        pass
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def end(self) -> None:
        self._filler.unlink(missing_ok=True)


class LibvirtLost(Fault):
    """The connections to libvirt break, and no new one can be opened (U34)."""

    def __init__(self, instances: Path) -> None:
        super().__init__(instances)
        # The forked process inherits the test's connection, which must not break.
        self._inherited = _open_files()

    def strike(self, point: str) -> None:
        connect = libvirt.openAuth

        def refuse(_uri: str, *args: Any) -> Any:
            return connect(_NO_SOCKET, *args)

        # For the rest of the process's life.
        mock.patch.object(libvirt, "openAuth", refuse).start()
        assert sum(_break(number) for number in _open_files() - self._inherited)


def _open_files() -> set[int]:
    """Return the numbers of this process's open files."""
    return {int(path.name) for path in Path("/proc/self/fd").iterdir()}


def _break(number: int) -> bool:
    """Shut an open file down if it is a connection to libvirt; return True if so."""
    try:
        with socket.socket(fileno=os.dup(number)) as connection:
            if connection.getpeername() == _LIBVIRT_SOCKET:
                connection.shutdown(socket.SHUT_RDWR)
                return True
    except OSError:
        pass  # the file is closed, no socket, or not connected
    return False


FAULTS: dict[str, type[Fault]] = {
    "SIGKILL": Kill,
    "exception": StepFails,
    "disk full": DiskFull,
    "libvirt lost": LibvirtLost,
}


class LoggedInjection(engine.Injection):
    """An injection whose reached places can be read after its process is killed."""

    def __init__(self, faults: Mapping[Place, engine.Fault], log: Path) -> None:
        super().__init__(faults)
        self._log = log
        log.write_text("")

    def note(self, place: Place) -> None:
        point, count = place
        with self._log.open("a") as stream:
            stream.write(f"{count} {point}\n")

    def read(self) -> list[Place]:
        """Return the places that were reached, in order."""
        lines = (line.partition(" ") for line in self._log.read_text().splitlines())
        return [(point, int(count)) for count, _, point in lines]
