# SPDX-License-Identifier: Apache-2.0
"""Devices passed to QEMU with <qemu:commandline> stay at their addresses."""

import json

import libvirt_qemu
from lxml import etree

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
    """The servers are started paused; QEMU reports where each device is."""

    def addresses(self, server: base.Server) -> dict[str, tuple[int, int]]:
        """Return slot and function of each device on the root bus, by its id in QEMU.

        Devices behind a bridge have no bus number before firmware has assigned it.
        """
        server.start(paused=True)
        try:
            answer = libvirt_qemu.qemuMonitorCommand(
                server.domain, '{"execute":"query-pci"}', 0
            )
        finally:
            server.stop()
        (root,) = json.loads(answer)["return"]
        return {
            device["qdev_id"]: (device["slot"], device["function"])
            for device in root["devices"]
            if device["qdev_id"]  # The chipset's devices have none.
        }

    def check_passed_devices_stay(self, machine: str, hole: bool) -> None:
        server = self.new_server(machine)
        domain = Domain.parse(server.definition()).copy()
        for disk in list(domain.disks()):
            if hole and disk.findtext("serial") == "volume-1":
                domain.devices.remove(disk)
        domain.root.append(etree.fromstring(_COMMAND_LINE))
        server.define(domain.to_xml())
        original_xml = server.definition()
        before = self.addresses(server)
        self.assertLessEqual({"mine", "other", "fixed"}, before.keys())

        file = server.scene.folder / "disk.rescue"
        with file.open("wb") as stream:
            stream.truncate(MIB)
        medium = Medium.from_file(str(file))
        for bus in ("virtio", "scsi", "usb"):
            with self.subTest(f"{machine} {bus}"):
                derived = base.derive(original_xml, "disk", bus, medium)
                self.assertEqual(2, len(derived.findings), derived.findings)
                server.define(derived.rescue.to_xml())
                after = self.addresses(server)
                self.assertEqual(before, {name: after.get(name) for name in before})

    def test_devices_of_qemu_commandline_stay_on_pc(self):
        self.check_passed_devices_stay("pc", hole=False)

    def test_devices_of_qemu_commandline_stay_on_pc_with_a_hole(self):
        self.check_passed_devices_stay("pc", hole=True)

    def test_devices_of_qemu_commandline_stay_on_q35(self):
        self.check_passed_devices_stay("q35", hole=False)
