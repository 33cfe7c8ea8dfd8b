# SPDX-License-Identifier: Apache-2.0
"""LIBVIRT F1: a running server whose live and inactive definitions differ."""

from nova.virt.libvirt.guest import Guest

from stable_rescue import plan
from stable_rescue.domain.document import Domain
from stable_rescue.domain.layout import differences, layout_of
from stable_rescue.domain.medium import Medium
from stable_rescue.virt import definition
from tests.integration import base


class DivergedTest(base.TestCase):
    """A paused guest never lets a device go, so the two definitions part."""

    def diverged(self, machine: str) -> base.Server:
        server = self.new_server(machine)
        server.start(paused=True)
        server.detach(server.scene.volume_xml(1, "vdd"))  # not acknowledged
        server.attach(server.scene.volume_xml(4, "vdf"))
        return server

    def check(self, machine: str) -> None:
        server = self.diverged(machine)
        live = layout_of(Domain.parse(server.domain.XMLDesc()))
        inactive = layout_of(Domain.parse(server.definition()))
        disk = ("disk", "vdf", "virtio", "1")
        self.assertNotEqual(live[disk], inactive[disk])  # else it proves nothing

        own = definition.read(Guest(server.domain))
        request = plan.RescueRequest("disk", "virtio")
        rescue = Medium.from_file(str(server.scene.volume(6)))
        derived = plan.derive(own, request, rescue)
        server.define(derived.after)
        # Defined over a running domain, which goes on as it was (LIBVIRT, API facts).
        self.assertEqual(live, layout_of(Domain.parse(server.domain.XMLDesc())))
        server.stop()
        server.start(paused=True)
        started = layout_of(Domain.parse(server.domain.XMLDesc()))
        self.assertEqual([], [d for d in differences(live, started) if d in live])

    def test_pc(self):
        self.check("pc")

    def test_q35(self):
        self.check("q35")

    def test_what_is_the_same_is_read_to_the_letter(self):
        server = self.new_server("q35")
        server.start(paused=True)
        own = definition.read(Guest(server.domain))
        self.assertEqual(server.definition(), own)
