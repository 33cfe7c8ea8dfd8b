# SPDX-License-Identifier: Apache-2.0
"""Volumes: all there in the rescue, looked after before the guest is powered off."""

import copy
from typing import Any

import fixtures
from nova import exception as nova_exception
from nova import objects
from nova.compute import power_state
from nova.tests import fixtures as nova_fixtures
from oslo_utils.fixture import uuidsentinel as uuids

from stable_rescue.domain import recognise
from stable_rescue.domain.document import Domain
from tests.functional.volumes import DOWN, VOLUMES, VolumesTestBase


class RunningTest(VolumesTestBase):
    def test_rescue_has_every_volume_without_reconnecting(self) -> None:
        before = self.devices()
        self.rescue_server()
        self.assertLessEqual(before.items(), self.devices().items())
        self.unrescue_server()
        self.assert_restored()
        self.assertEqual([], self.storage.events)

    def test_rescue_keeps_device_path_of_each_connection(self) -> None:
        """Cinder does not; without it, StorPool cannot disconnect."""
        self.rescue_server()
        self.assertEqual(self.stored, self.connections())
        for volume in VOLUMES:
            path = self.connections()[volume]["data"]["device_path"]
            self.assertEqual(str(self.storage.path(volume)), path)

    def test_missing_device_of_a_volume_is_refused(self) -> None:
        self.storage.path(VOLUMES[1]).unlink()
        self.assert_refused(VOLUMES[1], "is missing on the compute host")

    def test_unreadable_device_of_a_volume_is_refused(self) -> None:
        self.storage.unreadable.add(VOLUMES[2])
        self.assert_refused(VOLUMES[2], "cannot be read on the compute host")

    def test_stock_rescue_does_not_ask_cinder(self) -> None:
        """It is not ours to refuse."""
        asked = self.useFixture(
            fixtures.MockPatch(
                "stable_rescue.compute.block_device.rebuild", side_effect=DOWN
            )
        ).mock
        self.rescue(self.server, self.create_rescue_image())
        self._wait_for_state_change(self.server, "RESCUE")
        asked.assert_not_called()


class CinderTest(VolumesTestBase):
    """What Cinder says, or does not say: a refusal, and the guest runs on."""

    def cinder_says(self, **changed: Any) -> None:
        """Have Cinder say something else of the second volume, to the host alone."""
        get = self.cinder.fake_get

        def said(context: Any, volume_id: str, microversion: Any = None) -> Any:
            found = dict(get(context, volume_id, microversion))
            return found | changed if volume_id == VOLUMES[1] else found

        self.patch_volume(said)

    def test_cinder_down_for_a_volume_is_refused(self) -> None:
        self.patch_volume(DOWN)
        told = self.assert_refused("the volume service does not answer")
        self.assertNotIn("192.0.2.1", told)

    def test_cinder_down_for_a_connection_is_refused(self) -> None:
        self.patch_cinder("attachment_get", DOWN)
        self.assert_refused("the volume service does not answer")
        self.assertEqual(self.stored, self.connections())

    def test_cinder_down_for_second_connection_keeps_the_first(self) -> None:
        """Nova's own refresh has saved the first by then, without its device."""
        get, asked = self.cinder.fake_attachment_get, []

        def first_only(context: Any, attachment_id: str) -> Any:
            asked.append(attachment_id)
            if len(asked) > 1:
                raise DOWN
            return get(context, attachment_id)

        self.patch_cinder("attachment_get", first_only)
        self.assert_refused("the volume service does not answer")
        self.assertEqual(self.stored, self.connections())

    def test_deleted_volume_is_refused(self) -> None:
        gone = nova_exception.VolumeNotFound(volume_id=VOLUMES[1])
        self.patch_volume(gone)
        self.assert_refused(f"Volume {VOLUMES[1]} could not be found")

    def test_volume_in_error_is_refused(self) -> None:
        self.cinder_says(status="error")
        self.assert_refused(f"volume {VOLUMES[1]} is error, not in-use")

    def test_detached_volume_is_refused(self) -> None:
        self.cinder_says(status="in-use", attachments={uuids.another_server: {}})
        self.assert_refused(f"volume {VOLUMES[1]} is not attached to the server")

    def test_deleted_attachment_is_refused(self) -> None:
        gone = self.connections_attachment(VOLUMES[1])
        self.patch_cinder(
            "attachment_get",
            nova_exception.VolumeAttachmentNotFound(attachment_id=gone),
        )
        self.assert_refused(f"volume {VOLUMES[1]} is not attached to the server")

    def connections_attachment(self, volume: str) -> str:
        return str(
            objects.BlockDeviceMapping.get_by_volume_and_instance(
                self.context, volume, self.server["id"]
            ).attachment_id
        )

    def test_malformed_connection_info_is_refused(self) -> None:
        garbage = (
            {},
            {"driver_volume_type": "carrier-pigeon", "data": {"volume_id": "x"}},
            {"driver_volume_type": "iscsi", "data": {"target_lun": "many"}},
            {"driver_volume_type": "fake"},
            {"driver_volume_type": "fake", "data": None},
            {"driver_volume_type": "fake", "data": {"access_mode": "execute"}},
            {"driver_volume_type": "rbd", "data": {"hosts": 3}},
            [],
            "iscsi",
        )
        for info in garbage:
            with self.subTest(info):
                answer = {"id": "x", "connection_info": info}
                with fixtures.MockPatch(
                    "nova.volume.cinder.API.attachment_get",
                    side_effect=lambda *_args, answer=answer: copy.deepcopy(answer),
                    autospec=False,
                ):
                    self.assert_refused()
                self.assertEqual(self.stored, self.connections())


class StoppedTest(VolumesTestBase):
    """A stopped server: its host may have been started again."""

    def setUp(self) -> None:
        super().setUp()
        self.stop()
        self.storage.reboot()

    def test_volumes_of_a_stopped_server_connect_in_parallel(self) -> None:
        self.storage.wait_for_parallel = 2
        self.rescue_server()
        self.assertEqual(sorted(VOLUMES), self.storage.connected())
        self.assertGreaterEqual(self.storage.most_at_once, 2)

    def test_volume_connect_workers_limits_parallel_connects(self) -> None:
        self.flags(volume_connect_workers=1, group="stable_rescue")
        self.rescue_server()
        self.assertEqual(1, self.storage.most_at_once)

    def test_new_device_paths_are_used_in_rescue_and_after_it(self) -> None:
        expected = {str(self.storage.path(volume)) for volume in VOLUMES}
        self.assertFalse(expected & set(self.devices().values()))
        self.rescue_server()
        self.assertLessEqual(expected, set(self.devices().values()))
        self.unrescue_server("SHUTOFF")
        self.assertLessEqual(expected, set(self.devices().values()))
        for volume in VOLUMES:
            path = self.connections()[volume]["data"]["device_path"]
            self.assertEqual(str(self.storage.path(volume)), path)

    def test_failed_connect_disconnects_others_in_reverse(self) -> None:
        self.flags(volume_connect_workers=1, group="stable_rescue")
        first, second, last = self.stored
        self.storage.broken.add(last)
        self.patch_cinder("attachment_update", DOWN)
        self.assert_refused(last, "cannot be connected", status="SHUTOFF")
        self.assertEqual([], self.storage.connected())
        undone = [what for what in self.storage.events if what[0] == "disconnect"]
        expected = [("disconnect", volume) for volume in (second, first)]
        self.assertEqual(expected, undone)

    def test_failed_connect_keeps_earlier_connections(self) -> None:
        self.storage.connect(VOLUMES[0])
        self.storage.broken.add(VOLUMES[2])
        self.patch_cinder("attachment_update", DOWN)
        self.assert_refused(VOLUMES[2], "cannot be connected", status="SHUTOFF")
        self.assertEqual([VOLUMES[0]], self.storage.connected())

    def test_no_connect_starts_after_a_failed_one(self) -> None:
        self.flags(volume_connect_workers=1, group="stable_rescue")
        first, *_others = self.stored
        self.storage.broken.add(first)
        self.patch_cinder("attachment_update", DOWN)
        self.assert_refused(first, status="SHUTOFF")
        self.assertEqual({("connect", first)}, set(self.storage.events))

    def test_failed_image_fetch_disconnects_the_volumes(self) -> None:
        self.useFixture(
            fixtures.MockPatch(
                "stable_rescue.nova_internals.fetch_rescue_disk",
                side_effect=OSError(28, "No space left on device"),
            )
        )
        self.assert_refused("No space left on device", status="SHUTOFF")
        self.assertEqual([], self.storage.connected())

    def test_failed_connect_updates_the_attachment_and_retries(self) -> None:
        """The backend knows another initiator: Cinder is told of this one."""
        self.storage.broken.add(VOLUMES[1])
        asked = []

        def update(context: Any, attachment: str, connector: Any, device: Any) -> Any:
            asked.append((attachment, connector["initiator"], device))
            self.storage.broken.clear()
            found = self.cinder._find_connection_info(VOLUMES[1], attachment)
            found["data"]["portal"] = "new"
            return {"id": attachment, "connection_info": found}

        self.patch_cinder("attachment_update", update)
        completed = self.patch_cinder("attachment_complete")
        self.useFixture(
            fixtures.MockPatchObject(
                self.driver, "get_volume_connector", return_value={"initiator": "iqn.x"}
            )
        )
        self.rescue_server()
        ((attachment, initiator, device),) = asked
        self.assertEqual("iqn.x", initiator)
        self.assertTrue(device.startswith("/dev/vd"))
        self.assertEqual(attachment, completed.call_args.args[-1])
        stored = self.connections()[VOLUMES[1]]
        self.assertEqual("new", stored["data"]["portal"])
        self.assertEqual(VOLUMES[1], stored["serial"])

    def test_attachment_that_cinder_cannot_complete_is_refused(self) -> None:
        self.storage.broken.add(VOLUMES[1])
        info = self.cinder._find_connection_info
        self.patch_cinder(
            "attachment_update",
            lambda _context, attachment, *_args: {
                "connection_info": info(VOLUMES[1], attachment)
            },
        )
        self.patch_cinder("attachment_complete", DOWN)
        self.assert_refused(VOLUMES[1], "cannot be connected", status="SHUTOFF")
        self.assertEqual([], self.storage.connected())

    def test_old_style_attachment_gets_a_new_connection(self) -> None:
        """Cinder tells its connection for the host as it is now."""
        old = objects.BlockDeviceMapping.get_by_volume_and_instance(
            self.context, VOLUMES[1], self.server["id"]
        )
        old.attachment_id = None
        old.save()
        told = {"volume_id": VOLUMES[1], "portal": "new"}
        asked = self.patch_cinder(
            "initialize_connection", [{"driver_volume_type": "fake", "data": told}]
        )
        self.rescue_server()
        asked.assert_called_once()
        self.assertEqual("new", self.connections()[VOLUMES[1]]["data"]["portal"])
        self.assertEqual(sorted(VOLUMES), self.storage.connected())


class RescuedTest(VolumesTestBase):
    """A rescued server whose host is started again (U16)."""

    def setUp(self) -> None:
        super().setUp()
        self.rescue_server()
        self.domain().destroy()
        self.storage.reboot()

    def test_unrescue_after_host_reboot_connects_the_volumes(self) -> None:
        self.unrescue_server()
        self.assertEqual(sorted(VOLUMES), self.storage.connected())
        expected = {str(self.storage.path(volume)) for volume in VOLUMES}
        self.assertLessEqual(expected, set(self.devices().values()))
        state = objects.Instance.get_by_uuid(self.context, self.server["id"])
        self.assertEqual(power_state.RUNNING, state.power_state)

    def test_unrescue_without_a_volume_recovers_at_restart(self) -> None:
        self.storage.broken.add(VOLUMES[0])
        self.patch_cinder("attachment_update", DOWN)
        self.error_of(self.unrescue, self.server)
        self._wait_for_server_parameter(self.server, {"status": "ERROR"})
        self.storage.broken.clear()
        self.restart_compute_service("compute1")
        self._wait_for_server_parameter(self.server, {"status": "ACTIVE"})
        self.assertEqual(sorted(VOLUMES), self.storage.connected())
        expected = {str(self.storage.path(volume)) for volume in VOLUMES}
        self.assertLessEqual(expected, set(self.devices().values()))


class MismatchTest(VolumesTestBase):
    def forget(self, volume: str) -> None:
        """Let Nova's database forget a volume, as by a detach that went wrong."""
        objects.BlockDeviceMapping.get_by_volume_and_instance(
            self.context, volume, self.server["id"]
        ).destroy()

    def test_volume_unknown_to_nova_is_refused(self) -> None:
        self.forget(VOLUMES[2])
        self.assert_refused("is in the server's definition, but not attached to it")

    def test_volume_unknown_to_nova_is_kept_if_allowed(self) -> None:
        self.flags(allow_mapping_mismatch=True, group="stable_rescue")
        self.forget(VOLUMES[2])
        before = self.devices()
        self.rescue_server()
        self.assertLessEqual(before.items(), self.devices().items())

    def test_volume_missing_in_libvirt_is_refused(self) -> None:
        target = next(
            name for name, path in self.devices().items() if path.endswith(VOLUMES[1])
        )
        disks = self.domain()._def["devices"]["disks"]
        disks[:] = [disk for disk in disks if disk["target_dev"] != target]
        self.assert_refused(
            f"volume {VOLUMES[1]} is attached to the server as {target}"
        )


class VolumeBackedTest(VolumesTestBase):
    """Microversion 2.87: the root disk is a volume."""

    volumes = (nova_fixtures.CinderFixture.IMAGE_BACKED_VOL, VOLUMES[0])

    def create_server_with_volumes(self) -> dict[str, Any]:
        wanted = self._build_server(networks="none")
        del wanted["imageRef"]
        wanted["block_device_mapping_v2"] = [
            {
                "boot_index": -place,
                "uuid": volume,
                "source_type": "volume",
                "destination_type": "volume",
            }
            for place, volume in enumerate(self.volumes)
        ]
        return self.boot(wanted)

    def test_volume_backed_server_is_rescued(self) -> None:
        image = self.create_rescue_image(hw_rescue_bus="usb", hw_rescue_device="disk")
        before = self.devices()
        self.assertEqual(2, len(before))
        self.rescue(self.server, image)
        self._wait_for_state_change(self.server, "RESCUE")
        after = Domain.parse(self.definition(self.server))
        self.assertLessEqual(before.items(), self.devices().items())
        self.assertIsNotNone(recognise.rescue_disk(after))
        self.unrescue_server()
        self.assertEqual(self.original, self.definition(self.server))
        self.assertEqual([], self.storage.events)

    def test_unreadable_root_volume_is_refused(self) -> None:
        self.image = self.create_rescue_image(
            hw_rescue_bus="usb", hw_rescue_device="disk"
        )
        self.storage.unreadable.add(self.volumes[0])
        self.assert_refused(self.volumes[0], "cannot be read")
