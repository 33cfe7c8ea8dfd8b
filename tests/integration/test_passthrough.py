# SPDX-License-Identifier: Apache-2.0
"""Devices that a definition hands to QEMU past libvirt stay where QEMU put them."""

import json

import libvirt_qemu
from lxml import etree

from stable_rescue import plan
from stable_rescue.domain.document import Domain
from stable_rescue.domain.medium import Medium
from tests.integration import base
from tests.integration.scene import MIB

_COMMAND_LINE = """\
<qemu:commandline xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0">
  <qemu:arg value="-device"/>
  <qemu:arg value='{"driver":"virtio-rng-pci","id":"mine"}'/>
  <qemu:arg value="-device"/><qemu:arg value='{"driver":"pvpanic-pci","id":"other"}'/>
  <qemu:arg value="-device"/><qemu:arg value="pci-testdev,id=fixed,addr=0x1e"/>
</qemu:commandline>"""


class PassthroughTest(base.TestCase):
    """Servers started paused: QEMU itself says where each device is."""

    def places(self, server: base.Server) -> dict[str, tuple[int, int]]:
        """Return the slots and functions of the root bus by QEMU's devices' ids.

        What lies behind a bridge is not told before firmware has numbered it.
        """
        server.start(paused=True)
        try:
            said = libvirt_qemu.qemuMonitorCommand(
                server.domain, '{"execute":"query-pci"}', 0
            )
        finally:
            server.stop()
        (root,) = json.loads(said)["return"]
        return {
            device["qdev_id"]: (device["slot"], device["function"])
            for device in root["devices"]
            if device["qdev_id"]  # the chipset's own have none
        }

    def check(self, machine: str, hole: bool) -> None:
        server = self.new_server(machine)
        definition = Domain.parse(server.definition())
        for disk in list(definition.disks()):
            if hole and disk.findtext("serial") == "volume-1":
                definition.devices.remove(disk)
        definition.root.append(etree.fromstring(_COMMAND_LINE))
        server.define(definition.to_xml())
        own = server.definition()
        before = self.places(server)
        self.assertLessEqual({"mine", "other", "fixed"}, before.keys())

        medium = server.scene.folder / "disk.rescue"
        with medium.open("wb") as stream:
            stream.truncate(MIB)
        for bus in ("virtio", "scsi", "usb"):
            with self.subTest(f"{machine} {bus}"):
                derived = plan.derive(
                    own,
                    plan.RescueRequest("disk", bus),
                    Medium.from_file(str(medium)),
                )
                self.assertEqual(2, len(derived.findings), derived.findings)
                server.define(derived.after)
                after = self.places(server)
                self.assertEqual(before, {name: after.get(name) for name in before})

    def test_pc(self):
        self.check("pc", hole=False)

    def test_pc_with_a_hole(self):
        self.check("pc", hole=True)

    def test_q35(self):
        self.check("q35", hole=False)
