# SPDX-License-Identifier: Apache-2.0
"""A server with volumes, on Nova's CinderFixture and tests.functional.storage."""

import copy
import json
from typing import Any
from unittest import mock

import fixtures
from nova import exception as nova_exception
from nova import objects
from nova.virt.libvirt.driver import VOLUME_DRIVERS
from oslo_utils.fixture import uuidsentinel as uuids

from stable_rescue.domain import sources
from stable_rescue.domain.document import Domain, target_of
from tests.functional.server import ServerTestBase
from tests.functional.storage import Storage, StorageVolumeDriver

VOLUMES = (uuids.first, uuids.second, uuids.third)
DOWN = nova_exception.CinderConnectionFailed(reason="http://192.0.2.1:8776 refused")


class VolumesTestBase(ServerTestBase):
    """A server with a local root disk and three volumes."""

    volumes: tuple[str, ...] = VOLUMES

    def make_server(self) -> None:
        self.storage = Storage(self.useFixture(fixtures.TempDir()).path)
        self.use_storage()
        self.server = self.create_server_with_volumes()
        self.image = self.create_rescue_image(hw_rescue_bus="usb")
        self.stored = self.connections()
        self.storage.events.clear()

    def observed(self) -> dict[str, Any]:
        return super().observed() | {"attachments": self.attachments()}

    def use_storage(self) -> None:
        """Make the host connect volumes of Cinder's type "fake" to the storage."""
        path = f"{StorageVolumeDriver.__module__}.{StorageVolumeDriver.__name__}"
        for name, value in (
            (
                "nova.virt.libvirt.driver.VOLUME_DRIVERS",
                VOLUME_DRIVERS | {"fake": path},
            ),
            ("tests.functional.storage.StorageVolumeDriver.storage", self.storage),
        ):
            self.useFixture(fixtures.MonkeyPatch(name, value))

    def patch_cinder(self, call: str, side_effect: Any = None) -> mock.Mock:
        """Replace a call to Cinder, for Nova's API service and for the host."""
        return self.useFixture(
            fixtures.MockPatch(
                f"nova.volume.cinder.API.{call}",
                side_effect=side_effect,
                autospec=False,
            )
        ).mock

    def patch_volume(self, side_effect: Any) -> None:
        """Replace the host's call for a volume, and leave Nova's API service alone."""
        self.useFixture(
            fixtures.MockPatchObject(
                self.manager.volume_api, "get", side_effect=side_effect, autospec=False
            )
        )

    def create_server_with_volumes(self) -> dict[str, Any]:
        wanted = self._build_server(networks="none")
        image = wanted["imageRef"]
        wanted["block_device_mapping_v2"] = [
            {
                "boot_index": 0,
                "uuid": image,
                "source_type": "image",
                "destination_type": "local",
            }
        ] + [
            {
                "boot_index": -1,
                "uuid": volume,
                "source_type": "volume",
                "destination_type": "volume",
            }
            for volume in self.volumes
        ]
        return self.boot(wanted)

    def attachments(self) -> dict[str, Any]:
        """Return the attachments that Cinder has, by volume."""
        attached = self.cinder.volume_to_attachment
        return copy.deepcopy(
            {volume: dict(known) for volume, known in attached.items()}
        )

    def connections(self) -> dict[str, Any]:
        """Return the connections in Nova's database, by volume."""
        mappings = objects.BlockDeviceMappingList.get_by_instance_uuid(
            self.context, self.server["id"]
        )
        return {
            mapping.volume_id: json.loads(mapping.connection_info)
            for mapping in mappings
            if mapping.is_volume
        }

    def mapping(self, volume: str) -> objects.BlockDeviceMapping:
        """Return a volume's mapping in Nova's database."""
        return objects.BlockDeviceMapping.get_by_volume_and_instance(
            self.context, volume, self.server["id"]
        )

    def new_paths(self) -> set[str]:
        """Return the device paths that the volumes have since the last reboot."""
        return {str(self.storage.path(volume)) for volume in self.volumes}

    def assert_new_paths_used(self) -> None:
        """Assert that the server's definition has the paths since the last reboot."""
        self.assertLessEqual(self.new_paths(), set(self.devices().values()))

    def stop(self) -> None:
        """Stop the server and note what it is like then."""
        self._stop_server(self.server)
        self.note_original()

    def assert_refused(self, *reasons: str, **options: Any) -> str:
        """Also assert that the text names no path of the host."""
        text = super().assert_refused(*reasons, **options)
        self.assertNotIn(str(self.storage.folder), text)
        return text

    def devices(self) -> dict[str, str]:
        """Return the source of each disk that the server runs with, by target."""
        disks = Domain.parse(self.definition(self.server)).disks()
        return {target_of(disk)[0]: sources.path_of(disk) or "" for disk in disks}
