# SPDX-License-Identifier: Apache-2.0
"""Rescues of running servers whose live and inactive definitions differ (F1)."""

from nova.virt.libvirt.guest import Guest

from stable_rescue.domain.document import Domain
from stable_rescue.domain.layout import Layout, differences, layout_of
from stable_rescue.domain.medium import Medium
from stable_rescue.virt import guest
from tests.integration import base


class DivergedTest(base.TestCase):
    def new_diverged_server(self, machine: str) -> base.Server:
        """Return a paused server with two definitions.

        A paused guest never acknowledges that a device was unplugged, so the device
        stays in the live definition.
        """
        server = self.new_server(machine)
        server.start(paused=True)
        server.detach(server.scene.volume_xml(1, "vdd"))
        server.attach(server.scene.volume_xml(4, "vdf"))
        return server

    def live_layout(self, server: base.Server) -> Layout:
        return layout_of(Domain.parse(server.domain.XMLDesc()))

    def check_live_layout_is_kept(self, machine: str) -> None:
        server = self.new_diverged_server(machine)
        live = self.live_layout(server)
        inactive = layout_of(Domain.parse(server.definition()))
        attached = ("disk", "vdf", "virtio", "1")
        # The test proves nothing unless the two definitions differ.
        self.assertNotEqual(live[attached], inactive[attached])

        original = guest.read_original(Guest(server.domain))
        medium = Medium.from_file(str(server.scene.volume(6)))
        server.define(
            base.derive(original.to_xml(), "disk", "virtio", medium).rescue.to_xml()
        )
        # Defining over a running domain leaves its live definition alone (F26).
        self.assertEqual(live, self.live_layout(server))
        server.stop()
        server.start(paused=True)
        moved = [
            device
            for device in differences(live, self.live_layout(server))
            if device in live
        ]
        self.assertEqual([], moved)

    def test_rescue_of_diverged_pc_keeps_the_live_addresses(self):
        self.check_live_layout_is_kept("pc")

    def test_rescue_of_diverged_q35_keeps_the_live_addresses(self):
        self.check_live_layout_is_kept("q35")

    def test_undiverged_definition_is_read_unchanged(self):
        server = self.new_server("q35")
        server.start(paused=True)
        original = guest.read_original(Guest(server.domain))
        self.assertEqual(server.definition(), original.to_xml())
