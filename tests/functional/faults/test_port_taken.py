# SPDX-License-Identifier: Apache-2.0
"""Another server gets the port of the serial console while the server is off (U21)."""

import re
import socket
from collections.abc import Callable, Mapping
from typing import ClassVar

from nova.console import serial

from tests.faults.engine import Fault, Injection
from tests.faults.places import Place
from tests.functional.faults.base import RowTestBase
from tests.functional.faults.snapshot import FromModelSnapshot, Restorable
from tests.functional.faults.strikes import Watch
from tests.functional.serial_consoles import HOST, ServerWithConsole

_STARTING = ("before start a domain", 1)
_RESCUE = {"action": "rescue", "done": "RESCUE", "fails_at": None, "killed_at": None}
_UNRESCUE = _RESCUE | {"action": "unrescue", "done": "ACTIVE"}
_ROWS = (
    _RESCUE,
    _UNRESCUE,
    _RESCUE | {"done": "ACTIVE", "fails_at": _STARTING},
    _RESCUE | {"done": "ACTIVE", "killed_at": _STARTING},
    _UNRESCUE | {"killed_at": _STARTING},
)


class PortTaken(Fault):
    """Another server gets the port. Whatever is done must succeed all the same."""

    survivable = True

    def __init__(self, take_port: Callable[[], None]) -> None:
        self._take_port = take_port

    def strike(self, point: str) -> None:
        self._take_port()


class ConsoleSnapshot:
    """A snapshot with the ports that Nova has given away and the guests listen on."""

    def __init__(self, test: "PortTakenTest", snapshot: Restorable) -> None:
        self._test = test
        self._snapshot = snapshot
        self._allocated = set(serial.ALLOCATED_PORTS)

    def restore(self) -> None:
        """Restore the state that was noted; no other server listens."""
        while self._test.listeners:
            self._test.listeners.pop().close()
        self._snapshot.restore()
        serial.ALLOCATED_PORTS.clear()
        serial.ALLOCATED_PORTS.update(self._allocated)
        self._test.consoles.listen_again(self._test.libvirt_connection()._vms.values())


class PortTakenTest(FromModelSnapshot, ServerWithConsole, RowTestBase):
    """Each fault strikes where the server's port is free: elsewhere it has the port."""

    running = True
    faults = {"port taken": PortTaken}
    #: The status after the action.
    done: ClassVar[str]

    def setUp(self) -> None:
        super().setUp()
        self.original_port = self.port()
        #: What other servers listen with.
        self.listeners: list[socket.socket] = []

    def row(self) -> str:
        what = self.action
        if self.killed_at is not None:
            what = f"recovery of {what}"
        elif self.fails_at is not None:
            what = f"rollback of {what}"
        return f"{what}, port taken"

    def take_snapshot(self) -> Restorable:
        return ConsoleSnapshot(self, super().take_snapshot())

    def get_ready(self) -> None:
        super().get_ready()
        self.assertEqual(self.original_port, self.port())
        self.kill_in_action()

    def new_fault(self, name: str) -> Fault:
        return PortTaken(self.take_port_of_server)

    def take_port_of_server(self) -> None:
        """Have another server use the port that the server had before."""
        listener = self.take_port()
        self.listeners.append(listener)
        self.assertEqual((HOST, self.original_port), listener.getsockname())

    def is_port_free(self) -> bool:
        """Return True if another server would get the port now."""
        port = serial.acquire_port(HOST)
        serial.release_port(HOST, port)
        return bool(port == self.original_port)

    def places(self) -> list[Place]:
        reached = super().places()
        return [place for place in reached if self.watch.seen[place]]

    def new_injection(self, faults: Mapping[Place, Fault]) -> Injection:
        self.watch = Watch(faults, self.is_port_free)
        return self.watch

    def perform(self, faults: Mapping[Place, Fault]) -> list[Place]:
        reached = super().perform(faults)
        self.assert_undisturbed()
        self.assert_status(self.done)
        self.assertTrue(self.domain().isActive())
        self.assertEqual(not faults, self.port() == self.original_port)
        return reached

    def restart(self) -> None:
        # Nova does not know the ports of guests that it has not started.
        serial.ALLOCATED_PORTS.clear()
        super().restart()

    def comparable(self, definition: str) -> str:
        """Leave out the port, which differs if another server has the original one."""
        return re.sub(r"""service=["']\d+["']""", "service=''", definition)

    def test_server_whose_port_is_taken_is_recovered(self) -> None:
        self.strike_rows(*_ROWS)
