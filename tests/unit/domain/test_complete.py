# SPDX-License-Identifier: Apache-2.0
"""A definition that libvirt has not completed is refused.

What libvirt would add could move the server's devices (F7).
"""

import ddt
from oslotest import base

from stable_rescue import exception
from stable_rescue.domain import complete
from stable_rescue.domain.document import Domain
from tests.unit.domain import samples


@ddt.ddt
class CompleteTest(base.BaseTestCase):
    @ddt.data(
        ("disk/address", "disk vda has no address"),
        ("interface/address", "interface tap1 has no address"),
        ("memballoon/address", "memballoon has no address"),
        ("controller[@type='ide']/address", "controller ide has no address"),
    )
    @ddt.unpack
    def test_device_without_address_is_refused(self, path: str, reason: str) -> None:
        original = samples.domain("pc")
        element = original.devices.find(path)
        element.getparent().remove(element)
        self.assert_refused(reason, original)

    @ddt.data(
        ("controller", "index", "controller usb has no index"),
        ("disk/target", "bus", "disk vda has no bus"),
    )
    @ddt.unpack
    def test_device_without_attribute_is_refused(
        self, path: str, name: str, reason: str
    ) -> None:
        original = samples.domain("pc")
        del original.devices.find(path).attrib[name]
        self.assert_refused(reason, original)

    @ddt.data("uuid", "devices")
    def test_domain_without_element_is_refused(self, tag: str) -> None:
        original = samples.domain("pc")
        original.root.remove(original.root.find(tag))
        self.assert_refused(f"there is no <{tag}>", original)

    @ddt.data(
        "<channel type='unix'><target type='virtio' name='agent'/></channel>",
        "<console type='pty'><target type='virtio'/></console>",
        "<input type='tablet' bus='usb'/>",
        "<hostdev mode='subsystem' type='usb'><source/></hostdev>",
        "<watchdog model='i6300esb'/>",
        "<hub type='usb'/>",
    )
    def test_device_of_a_kind_that_gets_an_address_is_refused(self, xml: str) -> None:
        original = samples.domain("pc")
        samples.add(original, xml)
        self.assert_refused("has no address", original)

    @ddt.data("pci", "sata", "usb")
    def test_q35_without_an_implicit_controller_is_refused(self, kind: str) -> None:
        """libvirt adds the controller, with root ports that the rescue could use."""
        original = samples.domain("q35")
        original.devices.remove(next(original.controllers(kind)))
        self.assert_refused(f"there is no {kind} controller 0", original)

    def test_address_used_twice_is_refused(self) -> None:
        original = samples.domain("pc")
        samples.add_disk(original, "vdz", "virtio", samples.pci(0, 4))
        self.assert_refused("address 0000:00:04.0 occurs 2 times", original)

    @ddt.data("pc", "q35")
    def test_definition_from_libvirt_is_complete(self, name: str) -> None:
        text = samples.read(name)
        self.assertEqual(text, complete.parse(text).to_xml())

    def test_device_that_never_has_an_address_is_complete(self) -> None:
        original = samples.domain("pc")
        for xml in (
            "<controller type='fdc' index='0'/>",
            "<input type='mouse' bus='ps2'/>",
            "<sound model='pcspk'/>",
            "<channel type='unix'/>",
        ):
            samples.add(original, xml)
        original.devices.find("memballoon").clear(keep_tail=True)
        original.devices.find("memballoon").set("model", "none")
        self.assertEqual(original.uuid, complete.parse(original.to_xml()).uuid)

    def assert_refused(self, reason: str, original: Domain) -> None:
        refused = self.assertRaises(
            exception.Refused, complete.parse, original.to_xml()
        )
        self.assertIn(f"{reason}: the definition is not as", str(refused))
