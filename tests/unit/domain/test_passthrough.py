# SPDX-License-Identifier: Apache-2.0
"""What a definition hands to QEMU past libvirt stays where QEMU puts it."""

from xml.sax.saxutils import quoteattr

import ddt
from lxml import etree
from oslotest import base

from stable_rescue import exception, plan
from stable_rescue.domain import passthrough, pci
from stable_rescue.domain.address import Pci
from stable_rescue.domain.document import Domain
from tests.unit.domain import samples

RNG = '{"driver":"virtio-rng-pci","id":"mine"}'
NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"


def hands(*arguments: str) -> Domain:
    """Return a pc whose last device is in slot 8, with arguments for QEMU."""
    own = samples.domain("pc")
    given = "".join(f"<qemu:arg value={quoteattr(a)}/>" for a in arguments)
    xml = f"<qemu:commandline xmlns:qemu='{NAMESPACE}'>{given}</qemu:commandline>"
    own.root.append(etree.fromstring(xml))
    return own


@ddt.ddt
class PassthroughTest(base.BaseTestCase):
    def test_the_slot_that_qemu_takes_is_left_free(self) -> None:
        own = hands("-device", RNG, "-device", '{"driver":"edu"}')
        self.assertEqual(Pci(0, 0, 11), pci.last_place(own).address)

    def test_without_json_it_is_a_slot_of_the_empty_bus(self) -> None:
        own = hands("-device", "virtio-rng-pci", "-device", "edu,addr=3")
        self.assertEqual(
            [Pci(0, 0, 3), Pci(0, 0, 2)],
            list(passthrough.places(own, {2, 4, 5}, {0, 1})),
        )
        self.assertEqual(Pci(0, 0, 9), pci.last_place(own).address)

    def test_qemu_takes_a_hole_first(self) -> None:
        own = hands("-device", RNG)
        samples.remove_disk(own, "vdb")
        self.assertEqual(Pci(0, 0, 9), pci.last_place(own).address)

    @ddt.data("edu,addr=0x9", "edu,bus=pci.0,addr=9.1", '{"driver":"edu","addr":"9"}')
    def test_a_place_of_its_own_is_taken(self, device: str) -> None:
        own = hands("-device", device)
        self.assertEqual([], passthrough.unplaced(own))
        self.assertEqual(Pci(0, 0, 10), pci.last_place(own).address)

    @ddt.data(
        ("-device", "usb-tablet"),
        ("-device", "edu,bus=pci.7"),
        ("-device", "edu,addr=no"),
        ("-device", "{"),
        ("-device",),
        ("-cpu", "edu,addr=0x9"),
    )
    def test_what_takes_no_slot_of_the_root_bus(self, arguments: tuple) -> None:
        own = hands(*arguments)
        self.assertEqual([], passthrough.unplaced(own))
        self.assertEqual(Pci(0, 0, 9), pci.last_place(own).address)

    def test_the_plan_tells_of_it(self) -> None:
        own = hands("-device", RNG)
        made = plan.derive(own, plan.RescueRequest("disk", "usb"), samples.MEDIA)
        (finding,) = made.findings
        self.assertIn("QEMU itself places virtio-rng-pci", finding)

    @ddt.data(
        ("-device", "virtio-blk-pci,drive=x,bootindex=1"),
        ("-set", "device.virtio-disk0.bootindex=1"),
        ("-kernel", "/vmlinuz"),
    )
    def test_what_decides_on_the_boot_is_refused(self, arguments: tuple) -> None:
        own = hands(*arguments)
        request = plan.RescueRequest("disk", "usb")
        refused = self.assertRaises(
            exception.Refused, plan.derive, own, request, samples.MEDIA
        )
        self.assertIn("decides what boots", str(refused))

    def test_an_override_that_decides_on_the_boot_is_refused(self) -> None:
        own = samples.domain("pc")
        own.root.append(
            etree.fromstring(
                f"<qemu:override xmlns:qemu='{NAMESPACE}'>"
                "<qemu:device alias='virtio-disk0'><qemu:frontend>"
                "<qemu:property name='bootindex' type='unsigned' value='1'/>"
                "</qemu:frontend></qemu:device></qemu:override>"
            )
        )
        request = plan.RescueRequest("disk", "usb")
        self.assertRaises(exception.Refused, plan.derive, own, request, samples.MEDIA)
