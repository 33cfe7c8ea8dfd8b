# SPDX-License-Identifier: Apache-2.0
"""Another server gets the port of a serial console while a server is off (U21)."""

from nova.console import serial

from stable_rescue import steps
from tests.functional.failures import FailureTestBase
from tests.functional.serial_consoles import FIRST, HOST, ServerWithConsole


class SerialConsoleTest(ServerWithConsole, FailureTestBase):
    def take_port_while_off(self) -> None:
        """Have another server use the port as soon as the server is off."""

        def take(point: str) -> None:
            if point == "after power off":
                steps.observe = observe
                self.take_port()

        observe = steps.observe
        self.addCleanup(setattr, steps, "observe", observe)
        steps.observe = take

    def assert_ports(self, *ports: int) -> None:
        """Assert which ports Nova regards as used."""
        self.assertEqual({(HOST, port) for port in ports}, serial.ALLOCATED_PORTS)

    def assert_next_port(self, port: int) -> None:
        """Assert which port the next server would get."""
        self.assertEqual(port, serial.acquire_port(HOST))
        serial.release_port(HOST, port)

    def test_server_keeps_its_port_if_nobody_takes_it(self) -> None:
        for _attempt in range(2):
            self.rescue_server()
            self.assertEqual(FIRST, self.port())
            self.assert_ports(FIRST)
            self.unrescue(self.server)
            self.assert_restored()
            self.assert_ports(FIRST)

    def test_stopped_server_is_rescued_on_another_port(self) -> None:
        self._stop_server(self.server)
        self.note_original()
        other = self.create_server()
        self.assertEqual(FIRST, self.port(other))
        self.rescue_server()
        self.assertEqual(FIRST + 1, self.port())
        self.assert_next_port(FIRST + 2)
        self.unrescue(self.server)
        self.assert_restored(running=False)
        self.assert_next_port(FIRST + 1)

    def test_rescue_and_unrescue_begin_on_another_port(self) -> None:
        self.take_port_while_off()
        self.rescue_server()
        self.assertEqual(FIRST + 1, self.port())
        self.take_port_while_off()
        self.unrescue_server()
        self.assertEqual(FIRST + 2, self.port())
        self.assert_ports(FIRST, FIRST + 1, FIRST + 2)

    def test_rollback_starts_the_server_on_another_port(self) -> None:
        self.fail_launch(of_rescue=True)
        self.take_port_while_off()
        self.error_of(self.rescue, self.server, self.image)
        self.assert_status("ACTIVE")
        self.assertTrue(self.domain().isActive())
        self.assertEqual(FIRST + 1, self.port())
        self.assert_ports(FIRST, FIRST + 1)

    def test_rescue_starts_again_on_another_port(self) -> None:
        """The host was rebooted, and another server is started first."""
        self.rescue_server()
        self.domain().destroy()
        serial.ALLOCATED_PORTS.clear()
        self.take_port()
        self.restart_compute_service("compute1")
        self.assert_rescued()
        self.assertEqual(FIRST + 1, self.port())
