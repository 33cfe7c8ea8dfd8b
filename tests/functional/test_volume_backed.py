# SPDX-License-Identifier: Apache-2.0
"""A server whose root disk is a volume is rescued like any other."""

from typing import Any

from nova.tests import fixtures as nova_fixtures

from tests.functional.volumes import VOLUMES, VolumesTestBase


class VolumeBackedTest(VolumesTestBase):
    """The root disk is a volume, which Nova can rescue since microversion 2.87."""

    volumes = (nova_fixtures.CinderFixture.IMAGE_BACKED_VOL, VOLUMES[0])

    def setUp(self) -> None:
        super().setUp()
        # Nova requires both properties for such a server.
        self.image = self.create_rescue_image(
            hw_rescue_bus="usb", hw_rescue_device="disk"
        )

    def create_server_with_volumes(self) -> dict[str, Any]:
        wanted = self._build_server(networks="none")
        del wanted["imageRef"]
        wanted["block_device_mapping_v2"] = [
            {
                "boot_index": -number,
                "uuid": volume,
                "source_type": "volume",
                "destination_type": "volume",
            }
            for number, volume in enumerate(self.volumes)
        ]
        return self.boot(wanted)

    def test_volume_backed_server_is_rescued(self) -> None:
        devices_before = self.devices()
        self.assertEqual(2, len(devices_before))
        self.rescue_server()
        self.assertLessEqual(devices_before.items(), self.devices().items())
        self.assertIsNotNone(self.rescue_disk())
        self.unrescue_server()
        self.assertEqual(self.original, self.definition(self.server))
        self.assertEqual([], self.storage.events)

    def test_unreadable_root_volume_is_refused(self) -> None:
        self.storage.unreadable.add(self.volumes[0])
        self.assert_refused(self.volumes[0], "cannot be read")
