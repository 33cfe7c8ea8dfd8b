# SPDX-License-Identifier: Apache-2.0
"""Another server gets the port of a serial console while a server is off (U21)."""

import random
import socket
from typing import Any

import fixtures
from lxml import etree
from nova.console import serial
from nova.tests.fixtures import libvirt

from stable_rescue import steps
from stable_rescue.domain import consoles
from stable_rescue.domain.document import Domain
from tests.functional.failures import FailureTestBase

# An address of this machine that no other test listens on.
HOST = f"127.{random.randint(1, 254)}.{random.randint(0, 254)}.{random.randint(1, 254)}"
FIRST = 10000


class ListeningConsolesFixture(fixtures.Fixture):
    """Makes Nova's libvirt fixture listen on the ports of a running guest's consoles.

    A guest whose port is in use does not start. Nova's fixture only knows a port -1.
    """

    def _setUp(self) -> None:
        parse, describe = libvirt.Domain._parse_definition, libvirt.Domain.XMLDesc
        create = libvirt.Domain.createWithFlags
        self._sockets: dict[Any, list[socket.socket]] = {}
        self.addCleanup(lambda: [self._close(domain) for domain in [*self._sockets]])

        def parse_serials(domain: Any, xml: str) -> dict[str, Any]:
            found = etree.fromstring(xml).iterfind("devices/serial[@type='tcp']")
            serials = [etree.tostring(each, encoding="unicode") for each in found]
            return parse(domain, xml) | {"serials": serials}

        def describe_serials(domain: Any, flags: int) -> str:
            root = etree.fromstring(describe(domain, flags))
            place = root.find("devices/serial[@type='tcp']")
            for each in domain._def["serials"]:
                place.addprevious(etree.fromstring(each))
            place.getparent().remove(place)
            return etree.tostring(root, encoding="unicode")

        def listen(domain: Any, flags: int) -> Any:
            for host, port in consoles.ports(Domain.parse(domain.XMLDesc(0))):
                listener = socket.socket()
                self._sockets.setdefault(domain, []).append(listener)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    listener.bind((host, port))
                except OSError as error:
                    self._close(domain)
                    raise libvirt.make_libvirtError(
                        libvirt.libvirtError, "Failed to find an available port"
                    ) from error
                listener.listen()
            return create(domain, flags)

        def closing(stop: Any) -> Any:
            def stopped(domain: Any, *args: Any) -> Any:
                self._close(domain)
                return stop(domain, *args)

            return stopped

        for name, function in (
            ("_parse_definition", parse_serials),
            ("XMLDesc", describe_serials),
            ("createWithFlags", listen),
            ("destroy", closing(libvirt.Domain.destroy)),
            ("shutdown", closing(libvirt.Domain.shutdown)),
        ):
            self.useFixture(
                fixtures.MonkeyPatch(
                    f"nova.tests.fixtures.libvirt.Domain.{name}", function
                )
            )

    def _close(self, domain: Any) -> None:
        for listener in self._sockets.pop(domain, ()):
            listener.close()


class SerialConsoleTest(FailureTestBase):
    def setUp(self) -> None:
        self.useFixture(
            fixtures.MonkeyPatch("nova.console.serial.ALLOCATED_PORTS", set())
        )
        self.useFixture(ListeningConsolesFixture())
        super().setUp()

    def start_compute(self, *args: Any, **options: Any) -> Any:
        self.flags(
            enabled=True,
            proxyclient_address=HOST,
            port_range=f"{FIRST}:{FIRST + 3}",
            group="serial_console",
        )
        return super().start_compute(*args, **options)

    def port(self, server: dict[str, Any] | None = None) -> int:
        """Return the port of a server's console, by default of the server's."""
        definition = Domain.parse(self.definition(server or self.server))
        [(host, port)] = consoles.ports(definition)
        self.assertEqual(HOST, host)
        return port

    def take_port(self) -> None:
        """Have another server use the first free port."""
        listener = socket.socket()
        self.addCleanup(listener.close)
        listener.bind((HOST, serial.acquire_port(HOST)))
        listener.listen()

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
