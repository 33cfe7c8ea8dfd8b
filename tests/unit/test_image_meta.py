# SPDX-License-Identifier: Apache-2.0
"""The image properties that choose the rescue device and bus."""

import ddt
from nova import objects
from nova.objects import base as nova_base
from oslotest import base

from stable_rescue import exception
from stable_rescue.image_meta import RescueImageMetaProps


def props(**properties: str) -> RescueImageMetaProps:
    return RescueImageMetaProps.from_image({"id": "i", "properties": properties})


@ddt.ddt
class RescueImageMetaPropsTest(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        objects.register_all()

    @ddt.data(
        ({}, False, None, None),
        ({"hw_rescue_bus": "usb"}, True, None, "usb"),
        ({"hw_rescue_device": "cdrom"}, True, "cdrom", None),
        ({"hw_rescue_device": "floppy", "hw_rescue_bus": "fdc"}, True, "floppy", "fdc"),
    )
    @ddt.unpack
    def test_properties_are_read(
        self, raw: dict[str, str], stable: bool, device: str | None, bus: str | None
    ) -> None:
        image = props(**raw)
        self.assertEqual(
            (stable, device, bus),
            (
                image.asks_for_stable,
                image.get("hw_rescue_device"),
                image.get("hw_rescue_bus"),
            ),
        )

    @ddt.data(
        ("hw_rescue_bus", "thunderbolt", "virtio, scsi, usb, sata, ide, fdc"),
        ("hw_rescue_bus", "xen", "virtio, scsi, usb, sata, ide, fdc"),
        ("hw_rescue_bus", "USB", "virtio, scsi, usb, sata, ide, fdc"),
        ("hw_rescue_bus", "", "virtio, scsi, usb, sata, ide, fdc"),
        ("hw_rescue_device", "tape", "disk, cdrom, floppy"),
    )
    @ddt.unpack
    def test_other_value_is_refused(self, name: str, value: str, allowed: str) -> None:
        refused = self.assertRaises(exception.Refused, props, **{name: value})
        self.assertEqual(
            f"rescue image i has {name}={value!r}; allowed are {allowed}", str(refused)
        )

    def test_value_that_nova_rejects_is_refused(self) -> None:
        refused = self.assertRaises(exception.Refused, props, hw_disk_bus="tape")
        self.assertIn("tape", str(refused))

    def test_other_properties_of_nova_are_kept(self) -> None:
        self.assertEqual("q35", props(hw_machine_type="q35").get("hw_machine_type"))

    def test_class_is_not_registered(self) -> None:
        """RPC messages use Nova's class."""
        registered = nova_base.NovaObjectRegistry.obj_classes()
        names = [c for n in registered.values() for c in n]
        self.assertNotIn(RescueImageMetaProps, names)
        self.assertIn(objects.ImageMetaProps, names)
