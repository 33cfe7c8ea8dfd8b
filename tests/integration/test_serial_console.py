# SPDX-License-Identifier: Apache-2.0
"""Two guests whose serial consoles listen on one port (U21).

Paused guests will do: libvirt and QEMU are what is tested.
"""

import socket
from unittest import mock

import libvirt
from nova.console import serial

from stable_rescue import nova_internals
from stable_rescue.domain import consoles
from stable_rescue.domain.document import Domain
from tests.integration import base

HOST = "127.0.0.1"


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class SerialConsoleTest(base.TestCase):
    def server_on(self, port: int) -> base.Server:
        """Return a server whose console listens on a port."""
        server = self.new_server("q35")
        file = f"<serial type='file'><source path='{server.scene.console}'/></serial>"
        xml = server.scene.xml()
        self.assertIn(file, xml)
        source = f"<source mode='bind' host='{HOST}' service='{port}'/>"
        server.define(xml.replace(file, f"<serial type='tcp'>{source}</serial>"))
        return server

    def test_second_guest_starts_on_another_port(self) -> None:
        port = free_port()
        first, second = self.server_on(port), self.server_on(port)
        with mock.patch.object(serial, "ALLOCATED_PORTS", set()):
            self.assertTrue(nova_internals.claim_port(HOST, port))
            serial.ALLOCATED_PORTS.clear()  # nova-compute was restarted
            first.start(paused=True)
            with self.assertRaises(libvirt.libvirtError):
                second.start(paused=True)
            self.assertFalse(nova_internals.claim_port(HOST, port))
            other = nova_internals.acquire_port(HOST)
        original = Domain.parse(second.definition())
        moved = consoles.with_ports(original, {(HOST, port): other})
        second.define(moved.to_xml())
        second.start(paused=True)
        running = Domain.parse(second.domain.XMLDesc())
        self.assertEqual([(HOST, other)], consoles.ports(running))
        first.stop()
        with mock.patch.object(serial, "ALLOCATED_PORTS", set()):
            self.assertTrue(nova_internals.claim_port(HOST, port))
