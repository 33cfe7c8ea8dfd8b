# SPDX-License-Identifier: Apache-2.0
"""Devices that a definition passes to QEMU directly keep their places."""

from xml.sax.saxutils import quoteattr

import ddt
from lxml import etree
from oslotest import base

from stable_rescue import exception
from stable_rescue.domain import passthrough, pci
from stable_rescue.domain.address import Pci
from stable_rescue.domain.document import Domain
from tests.unit.domain import samples

RNG = '{"driver":"virtio-rng-pci","id":"mine"}'
NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"


def passing(*arguments: str) -> Domain:
    """Return a pc that passes arguments to QEMU; its last device is in slot 8."""
    original = samples.domain("pc")
    elements = "".join(f"<qemu:arg value={quoteattr(a)}/>" for a in arguments)
    xml = f"<qemu:commandline xmlns:qemu='{NAMESPACE}'>{elements}</qemu:commandline>"
    original.root.append(etree.fromstring(xml))
    return original


@ddt.ddt
class PassthroughTest(base.BaseTestCase):
    def test_slot_that_qemu_assigns_is_left_free(self) -> None:
        original = passing("-device", RNG, "-device", '{"driver":"edu"}')
        self.assertEqual(Pci(0, 0, 11), pci.last_place(original).address)

    def test_device_without_json_gets_a_slot_of_the_empty_bus(self) -> None:
        original = passing("-device", "virtio-rng-pci", "-device", "edu,addr=3")
        self.assertEqual(
            [Pci(0, 0, 3), Pci(0, 0, 2)],
            list(passthrough.places(original, {2, 4, 5}, {0, 1})),
        )
        self.assertEqual(Pci(0, 0, 9), pci.last_place(original).address)

    def test_qemu_assigns_a_hole_first(self) -> None:
        original = passing("-device", RNG)
        samples.remove_disk(original, "vdb")
        self.assertEqual(Pci(0, 0, 9), pci.last_place(original).address)

    @ddt.data("edu,addr=0x9", "edu,bus=pci.0,addr=9.1", '{"driver":"edu","addr":"9"}')
    def test_address_in_the_arguments_is_in_use(self, device: str) -> None:
        original = passing("-device", device)
        self.assertEqual([], passthrough.unplaced(original))
        self.assertEqual(Pci(0, 0, 10), pci.last_place(original).address)

    @ddt.data(
        ("-device", "usb-tablet"),
        ("-device", "edu,bus=pci.7"),
        ("-device", "edu,addr=no"),
        ("-device", "{"),
        ("-device",),
        ("-cpu", "edu,addr=0x9"),
    )
    def test_device_elsewhere_uses_no_slot_of_the_root_bus(
        self, arguments: tuple
    ) -> None:
        original = passing(*arguments)
        self.assertEqual([], passthrough.unplaced(original))
        self.assertEqual(Pci(0, 0, 9), pci.last_place(original).address)

    def test_device_without_address_is_a_finding(self) -> None:
        original = passing("-device", RNG)
        (finding,) = samples.derive(original, "disk", "usb").findings
        self.assertIn("QEMU itself places virtio-rng-pci", finding)

    @ddt.data(
        ("-device", "virtio-blk-pci,drive=x,bootindex=1"),
        ("-set", "device.virtio-disk0.bootindex=1"),
        ("-kernel", "/vmlinuz"),
    )
    def test_argument_that_decides_what_boots_is_refused(
        self, arguments: tuple
    ) -> None:
        original = passing(*arguments)
        refused = self.assertRaises(
            exception.Refused, samples.derive, original, "disk", "usb"
        )
        self.assertIn("decides what boots", str(refused))

    def test_override_that_decides_what_boots_is_refused(self) -> None:
        original = samples.domain("pc")
        original.root.append(
            etree.fromstring(
                f"<qemu:override xmlns:qemu='{NAMESPACE}'>"
                "<qemu:device alias='virtio-disk0'><qemu:frontend>"
                "<qemu:property name='bootindex' type='unsigned' value='1'/>"
                "</qemu:frontend></qemu:device></qemu:override>"
            )
        )
        self.assertRaises(exception.Refused, samples.derive, original, "disk", "usb")
