# SPDX-License-Identifier: Apache-2.0
"""libvirt accepts overlays on volumes of Ceph, and opens nothing else for writing (E8).

Nothing is started: there is no Ceph. The command line shows what QEMU would open.
"""

import json
import uuid

import libvirt

from stable_rescue import plan
from stable_rescue.domain import overlays
from stable_rescue.domain.document import Domain, target_of
from stable_rescue.domain.medium import Medium
from stable_rescue.domain.overlays import Overlays
from tests.integration import base, qemu_argv

_FORMATS = ("qcow2", "luks", "raw")
_RBD = """
    <disk type='network' device='disk'>
      <driver name='qemu' type='raw' cache='writeback' discard='unmap'/>
      <auth username='cinder'><secret type='ceph' uuid='{ceph}'/></auth>
      <source protocol='rbd' name='volumes/volume-{number}'>
        <host name='192.0.2.1' port='6789'/>
        <host name='192.0.2.2' port='6789'/>
      </source>
      <target dev='{target}' bus='virtio'/>
      <serial>volume-{number}</serial>{encryption}
    </disk>"""
_LUKS = """
      <encryption format='luks'>
        <secret type='passphrase' uuid='{luks}'/>
      </encryption>"""
_BLOCK = """
    <disk type='block' device='disk'>
      <driver name='qemu' type='raw' cache='none' io='native'/>
      <source dev='/dev/nonexistent'/>
      <target dev='vdh' bus='virtio'/>
    </disk>"""


class DefinitionTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        ceph = self._secret("<usage type='ceph'><name>{}</name></usage>")
        luks = self._secret("<usage type='volume'><volume>{}</volume></usage>")
        self.server = self.new_server("q35")
        encryption = _LUKS.format(luks=luks)
        for number, target, encrypted in ((1, "vdf", ""), (2, "vdg", encryption)):
            names = {"ceph": ceph, "number": number, "target": target}
            self.server.attach(_RBD.format(**names, encryption=encrypted))
        self.server.attach(_BLOCK)
        self.original = Domain.parse(self.server.definition())
        self.where = Overlays("/instance", {"vdf": 2**30})

    def _secret(self, usage: str) -> str:
        """Give a passphrase to libvirt; return the UUID of the secret."""
        xml = f"<secret ephemeral='yes' private='yes'>{usage.format(uuid.uuid4())}"
        secret = self.connection.secretDefineXML(f"{xml}</secret>")
        secret.setValue(b"key")
        self.addCleanup(secret.undefine)
        return str(secret.UUIDString())

    def derive(self) -> plan.RescuePlan:
        medium = Medium.from_file("/nonexistent/disk.rescue")
        request = plan.RescueRequest("disk", "usb", discard=True)
        media = plan.RescueMedia(medium, overlays=self.where)
        return plan.derive(self.original, request, media)

    def test_libvirt_keeps_the_definition_with_overlays(self) -> None:
        rescue = self.derive().rescue
        self.server.define(rescue.to_xml())
        kept = Domain.parse(self.server.definition())
        self.assertEqual(overlays.targets(rescue), overlays.targets(kept))
        self.assertEqual(8, len(overlays.targets(kept)))
        for disk in kept.disks():
            if target_of(disk)[0] in ("vdf", "vdg"):
                below = disk.find("backingStore/source")
                self.assertEqual("rbd", below.get("protocol"))
                self.assertEqual(2, len(below.findall("host")))
                self.assertIsNotNone(below.find("auth/secret"))
                has_key = below.find("encryption/secret") is not None
                self.assertEqual(target_of(disk)[0] == "vdg", has_key)
                self.assertIsNotNone(disk.find("backingStore/backingStore"))

    def test_nothing_but_overlays_and_medium_is_opened_to_write(self) -> None:
        nodes = qemu_argv.block_nodes(self.derive().rescue.to_xml())
        below = {
            node.get(key) for node in nodes.values() for key in ("file", "backing")
        }
        written = [
            node
            for name, node in nodes.items()
            if name not in below and not node.get("read-only", False)
        ]
        self.assertEqual(9, len(written), json.dumps(nodes, indent=1))
        overlaid = [node for node in written if "backing" in node]
        self.assertEqual(8, len(overlaid))
        for node in overlaid:
            self.assertEqual("qcow2", node["driver"])
            below = nodes[node["backing"]]
            self.assertTrue(below["read-only"])
            self.assertIsNone(below.get("backing"))
        formats = [nodes[node["backing"]]["driver"] for node in overlaid]
        # For a raw disk, libvirt 11.3 makes the node of its storage alone.
        formats = [each if each in _FORMATS else "raw" for each in formats]
        self.assertEqual(["luks", "qcow2"] + ["raw"] * 6, sorted(formats))

    def test_limit_is_the_size_of_a_node_and_reported_to_the_guest(self) -> None:
        rescue_xml = self.derive().rescue.to_xml()
        devices, _orders = qemu_argv.devices(rescue_xml)
        reporting = [each for each in devices.values() if "werror" in each]
        self.assertEqual(["report"], [each["werror"] for each in reporting])
        nodes = qemu_argv.block_nodes(rescue_xml)
        (limited,) = (node for node in nodes.values() if node.get("size") == 2**30)
        self.assertEqual("raw", limited["driver"])
        storage = nodes[limited["file"]]
        self.assertEqual("/instance/overlay.vdf.rescue", storage["filename"])

    def test_definition_that_breaks_the_schema_is_rejected(self) -> None:
        """Without validation, libvirt ignores what it does not know."""
        draft = self.derive().rescue.copy()
        next(draft.disks()).find("backingStore").set("unknown", "1")
        self.assertRaises(libvirt.libvirtError, base.define, draft.to_xml())
