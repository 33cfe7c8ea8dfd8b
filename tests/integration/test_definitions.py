# SPDX-License-Identifier: Apache-2.0
"""Without booting: what libvirt makes of a derived definition, and tells QEMU."""

import itertools
import json
import shlex
from typing import Any

import libvirt

from stable_rescue import plan
from stable_rescue.domain.document import Domain
from stable_rescue.domain.layout import differences, layout_of
from stable_rescue.domain.medium import Medium
from stable_rescue.domain.recognise import RESCUE_ALIAS
from tests.integration import base
from tests.integration.scene import Scene

_WAYS = {
    "pc": (
        *(("disk", bus) for bus in ("virtio", "usb", "scsi", "ide")),
        *(("cdrom", bus) for bus in ("ide", "scsi", "usb")),
    ),
    "q35": (
        *(("disk", bus) for bus in ("virtio", "usb", "scsi", "sata")),
        *(("cdrom", bus) for bus in ("sata", "scsi", "usb")),
    ),
}
_USB = {
    "usual": "",
    "none": "<controller type='usb' index='0' model='none'/>",
    "xhci": "<controller type='usb' index='0' model='qemu-xhci' ports='15'/>",
    "ehci": "<controller type='usb' index='0' model='ich9-ehci1'/>"
    "<controller type='usb' index='0' model='ich9-uhci1'><master startport='0'/>"
    "</controller>",
}


class DefinitionTest(base.TestCase):
    """libvirt accepts every derived definition and moves nothing in it."""

    def test_every_way_on_every_scene(self):
        cases = itertools.product(
            ("pc", "q35"), _USB, (False, True), ("none", "hole", "full")
        )
        done = 0
        for machine, usb, scsi, history in cases:
            own = self.own_definition(machine, _USB[usb], scsi, history)
            for device, bus in _WAYS[machine]:
                with self.subTest(f"{machine} {usb} {scsi} {history} {device} {bus}"):
                    self.check(own, device, bus)
                    done += 1
        self.assertEqual(2 * 4 * 2 * 3 * 7, done)

    def own_definition(self, machine: str, usb: str, scsi: bool, history: str) -> str:
        scene = Scene(
            base.new_folder(self.addCleanup), machine, usb=usb, scsi_volume=scsi
        )
        server = base.Server(scene)
        self.addCleanup(server.remove)
        config = libvirt.VIR_DOMAIN_AFFECT_CONFIG
        if history == "hole":
            server.domain.detachDeviceFlags(scene.volume_xml(1, "vdd"), config)
        if history == "full":  # the hole is filled, out of order
            server.domain.detachDeviceFlags(scene.volume_xml(1, "vdd"), config)
            for number, target in ((4, "vdf"), (5, "vdd")):
                xml = scene.volume_xml(number, target)
                server.domain.attachDeviceFlags(xml, config)
        return server.definition()

    def check(self, own: str, device: str, bus: str) -> None:
        before = Domain.parse(own)
        medium = Medium.from_file("/nonexistent/disk.rescue")
        derived = plan.derive(own, plan.RescueRequest(device, bus), medium)
        flags = libvirt.VIR_DOMAIN_DEFINE_VALIDATE
        defined = self.connection.defineXMLFlags(derived.after, flags)
        try:
            text = base.definition(defined)
        finally:
            self.connection.defineXML(own)
        # 1. libvirt put nothing elsewhere, and nothing of its own beside it.
        asked, got = (
            layout_of(Domain.parse(derived.after)),
            layout_of(Domain.parse(text)),
        )
        self.assertEqual([], differences(asked, got))
        self.assertEqual(asked.keys(), got.keys())
        was = layout_of(before)
        changed = [d for d in differences(was, got) if d in was]
        # the one controller that may change: USB model none (LIBVIRT.md)
        self.assertEqual([], [d for d in changed if "none" not in d])
        # 2. QEMU is told the same of every device it was told of before.
        old, new = self.devices(own), self.devices(text)
        for name, arguments in old.items():
            self.assertEqual(arguments, new.get(name), name)
        # 3. One device boots, and it is ours.
        booting = [name for name, told in new.items() if told["bootindex"] is not None]
        self.assertEqual([RESCUE_ALIAS], booting)
        self.assertEqual(1, new[RESCUE_ALIAS]["bootindex"])

    def devices(self, xml: str) -> dict[str, dict[str, Any]]:
        """Return QEMU's -device arguments by id, less the boot order of others."""
        command = self.connection.domainXMLToNative("qemu-argv", xml)
        words = shlex.split(command)
        found = {}
        for option, argument in itertools.pairwise(words):
            if option == "-device":
                told = json.loads(argument)
                # companions of a USB controller have no id
                name = told.get("id") or f"{told['driver']} {told['addr']}"
                if name != RESCUE_ALIAS:
                    told.pop("bootindex", None)
                told.setdefault("bootindex", None)
                told.pop("drive", None)  # a name with a counter in it
                found[name] = told
        return found
