# SPDX-License-Identifier: Apache-2.0
"""A server with volumes.

Nova's CinderFixture is Cinder, tests.functional.storage the storage.
"""

import copy
import json
from typing import Any
from unittest import mock

import fixtures
from nova import exception as nova_exception
from nova import objects
from nova.tests.functional.api import client
from nova.virt.libvirt.driver import VOLUME_DRIVERS
from oslo_utils.fixture import uuidsentinel as uuids

from stable_rescue.domain import sources
from stable_rescue.domain.document import Domain, target_of
from tests.functional import base
from tests.functional.storage import Storage, StorageVolumeDriver

VOLUMES = (uuids.first, uuids.second, uuids.third)
DOWN = nova_exception.CinderConnectionFailed(reason="http://192.0.2.1:8776 refused")


class VolumesTestBase(base.RescueTestBase):
    """A server with an ephemeral disk, swap and three volumes."""

    volumes: tuple[str, ...] = VOLUMES

    def setUp(self) -> None:
        super().setUp()
        self.storage = Storage(self.useFixture(fixtures.TempDir()).path)
        self.use_storage()
        self.server = self.create_server_with_volumes()
        self.own = self.definition(self.server)
        self.attached = self.attachments()
        self.stored = self.connections()
        self.storage.events.clear()
        self.image = self.create_rescue_image(hw_rescue_bus="usb")
        self.power_off = self.power_offs()

    @property
    def driver(self) -> Any:
        return self.computes["compute1"].driver

    def use_storage(self) -> None:
        """Have hosts connect what Cinder calls fake with our storage."""
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
        """Have Cinder's API do something else, for the API's service and the host."""
        return self.useFixture(
            fixtures.MockPatch(
                f"nova.volume.cinder.API.{call}",
                side_effect=side_effect,
                autospec=False,
            )
        ).mock

    def patch_volume(self, side_effect: Any) -> None:
        """Have Cinder tell the host, and not the API's service, of volumes."""
        api = self.computes["compute1"].manager.volume_api
        self.useFixture(
            fixtures.MockPatchObject(
                api, "get", side_effect=side_effect, autospec=False
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

    def boot(self, wanted: dict[str, Any]) -> dict[str, Any]:
        server = self.api.post_server({"server": wanted})
        server = self._wait_for_state_change(server, "ACTIVE")
        self.folder(server).mkdir(parents=True, exist_ok=True)
        return server

    def attachments(self) -> dict[str, Any]:
        """Return what Cinder has attached."""
        return copy.deepcopy({k: dict(v) for k, v in self.cinder_attachments().items()})

    def cinder_attachments(self) -> dict[str, Any]:
        return self.cinder.volume_to_attachment

    def connections(self) -> dict[str, Any]:
        """Return the connections that Nova's database has."""
        found = objects.BlockDeviceMappingList.get_by_instance_uuid(
            self.context, self.server["id"]
        )
        return {
            m.volume_id: json.loads(m.connection_info) for m in found if m.is_volume
        }

    def stop(self) -> None:
        self._stop_server(self.server)
        self.own = self.definition(self.server)
        self.power_off.reset_mock()

    def rescued(self) -> None:
        self.rescue(self.server, self.image)
        self._wait_for_state_change(self.server, "RESCUE")

    def unrescued(self, status: str = "ACTIVE") -> None:
        self.api.post_server_action(self.server["id"], {"unrescue": None})
        self._wait_for_state_change(self.server, status)

    def assert_refused(self, *reasons: str, status: str = "ACTIVE") -> str:
        """Check that a rescue is refused, and that nobody noticed."""
        told = self.assertRaises(
            client.OpenStackApiException, self.rescue, self.server, self.image
        ).response.text
        for reason in reasons:
            self.assertIn(reason, told)
        self.assertNotIn(str(self.storage.folder), told)
        self._wait_for_server_parameter(
            self.server, {"status": status, "OS-EXT-STS:task_state": None}
        )
        self.power_off.assert_not_called()
        self.assertEqual(self.own, self.definition(self.server))
        self.assertEqual(self.attached, self.attachments())
        self.assertEqual([], self.files(self.server))
        return told

    def devices(self) -> dict[str, str]:
        """Return what each disk of the server's definition reads, by its target."""
        disks = Domain.parse(self.definition(self.server)).disks()
        return {target_of(disk)[0]: sources.path_of(disk) or "" for disk in disks}
