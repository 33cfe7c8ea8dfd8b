# SPDX-License-Identifier: Apache-2.0
"""A server with a serial console, and other servers that may get its port (U21)."""

import random
import socket
from collections.abc import Iterable
from typing import Any

import fixtures
from lxml import etree
from nova.console import serial
from nova.tests.fixtures import libvirt

from stable_rescue.domain import consoles
from stable_rescue.domain.document import Domain
from tests.functional.server import ServerTestBase

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
            self._listen(domain)
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

    def listen_again(self, domains: Iterable[Any]) -> None:
        """Listen for the guests that run now, after a snapshot was restored."""
        for domain in [*self._sockets]:
            self._close(domain)
        for domain in domains:
            if domain.isActive():
                self._listen(domain)

    def _listen(self, domain: Any) -> None:
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

    def _close(self, domain: Any) -> None:
        for listener in self._sockets.pop(domain, ()):
            listener.close()


class ServerWithConsole(ServerTestBase):
    """A server whose console listens on a port while the guest runs."""

    def setUp(self) -> None:
        self.useFixture(
            fixtures.MonkeyPatch("nova.console.serial.ALLOCATED_PORTS", set())
        )
        self.consoles = self.useFixture(ListeningConsolesFixture())
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

    def take_port(self) -> socket.socket:
        """Have another server use the first free port, until the socket is closed."""
        listener = socket.socket()
        self.addCleanup(listener.close)
        listener.bind((HOST, serial.acquire_port(HOST)))
        listener.listen()
        return listener
