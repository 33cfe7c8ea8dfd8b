# SPDX-License-Identifier: Apache-2.0
"""A definition that libvirt has not filled in yet is told from one that it has."""

import ddt
from oslotest import base

from stable_rescue import exception
from stable_rescue.domain import complete
from stable_rescue.domain.document import Domain
from tests.unit.domain import samples


@ddt.ddt
class CompleteTest(base.BaseTestCase):
    """What libvirt has not filled in could be moved by what it fills in (F7)."""

    @ddt.data(
        ("disk/address", "disk vda has no address"),
        ("interface/address", "interface tap1 has no address"),
        ("memballoon/address", "memballoon has no address"),
        ("controller[@type='ide']/address", "controller ide has no address"),
    )
    @ddt.unpack
    def test_an_address(self, path: str, reason: str) -> None:
        own = samples.domain("pc")
        element = own.devices.find(path)
        element.getparent().remove(element)
        self.assert_refused(reason, own)

    @ddt.data(
        ("controller", "index", "controller usb has no index"),
        ("disk/target", "bus", "disk vda has no bus"),
    )
    @ddt.unpack
    def test_an_attribute(self, path: str, name: str, reason: str) -> None:
        own = samples.domain("pc")
        del own.devices.find(path).attrib[name]
        self.assert_refused(reason, own)

    @ddt.data("uuid", "devices")
    def test_an_element(self, tag: str) -> None:
        own = samples.domain("pc")
        own.root.remove(own.root.find(tag))
        self.assert_refused(f"there is no <{tag}>", own)

    @ddt.data(
        "<channel type='unix'><target type='virtio' name='agent'/></channel>",
        "<console type='pty'><target type='virtio'/></console>",
        "<input type='tablet' bus='usb'/>",
        "<hostdev mode='subsystem' type='usb'><source/></hostdev>",
        "<watchdog model='i6300esb'/>",
        "<hub type='usb'/>",
    )
    def test_an_address_that_some_of_a_kind_have(self, xml: str) -> None:
        own = samples.domain("pc")
        samples.add(own, xml)
        self.assert_refused("has no address", own)

    @ddt.data("pci", "sata", "usb")
    def test_a_controller_that_libvirt_adds(self, kind: str) -> None:
        """It adds them with ports for them, which the rescue's would be beside."""
        own = samples.domain("q35")
        own.devices.remove(next(own.controllers(kind)))
        self.assert_refused(f"there is no {kind} controller 0", own)

    def test_an_address_of_two(self) -> None:
        own = samples.domain("pc")
        samples.add_disk(own, "vdz", "virtio", samples.pci(0, 4))
        self.assert_refused("address 0000:00:04.0 occurs 2 times", own)

    @ddt.data("pc", "q35")
    def test_what_libvirt_gave_back_lacks_nothing(self, name: str) -> None:
        text = samples.read(name)
        self.assertEqual(text, complete.parse(text).to_xml())

    def test_what_has_no_address_by_nature_lacks_nothing(self) -> None:
        own = samples.domain("pc")
        for xml in (
            "<controller type='fdc' index='0'/>",
            "<input type='mouse' bus='ps2'/>",
            "<sound model='pcspk'/>",
            "<channel type='unix'/>",
        ):
            samples.add(own, xml)
        own.devices.find("memballoon").clear(keep_tail=True)
        own.devices.find("memballoon").set("model", "none")
        self.assertIsNone(complete.check(own))

    def assert_refused(self, reason: str, own: Domain) -> None:
        refused = self.assertRaises(exception.Refused, complete.parse, own.to_xml())
        self.assertIn(f"{reason}: the definition is not as", str(refused))
