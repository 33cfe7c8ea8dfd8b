# SPDX-License-Identifier: Apache-2.0
"""A rescue has all volumes, and checks them before the guest is powered off."""

import copy
import threading
from collections.abc import Callable
from typing import Any

import fixtures
from nova import exception as nova_exception
from nova.compute import power_state
from oslo_utils.fixture import uuidsentinel as uuids

from tests.functional.volumes import DOWN, VOLUMES, VolumesTestBase

TIMEOUT = 60  # seconds


class RunningTest(VolumesTestBase):
    def test_rescue_has_every_volume_without_reconnecting(self) -> None:
        devices_before = self.devices()
        self.rescue_server()
        self.assertLessEqual(devices_before.items(), self.devices().items())
        self.unrescue_server()
        self.assert_restored()
        self.assertEqual([], self.storage.events)

    def test_rescue_keeps_device_path_of_each_connection(self) -> None:
        """Cinder does not store the path, and StorPool cannot disconnect without it."""
        self.rescue_server()
        self.assertEqual(self.stored, self.connections())
        for volume in VOLUMES:
            path = self.connections()[volume]["data"]["device_path"]
            self.assertEqual(str(self.storage.path(volume)), path)

    def test_cinder_is_asked_for_several_volumes_at_once(self) -> None:
        get, asked = self.cinder.fake_get, set()
        two_are_asked = threading.Event()

        def get_with_another(context: Any, volume_id: str, *more: Any) -> Any:
            asked.add(volume_id)
            if len(asked) > 1:
                two_are_asked.set()
            self.assertTrue(two_are_asked.wait(TIMEOUT))
            return get(context, volume_id, *more)

        self.patch_volume(get_with_another)
        self.rescue_server()

    def test_number_of_database_reads_does_not_grow_with_the_volumes(self) -> None:
        read_one = self.useFixture(
            fixtures.MockPatch(
                "nova.objects.BlockDeviceMapping.get_by_volume_and_instance"
            )
        ).mock
        self.rescue_server()
        read_one.assert_not_called()

    def test_missing_device_of_a_volume_is_refused(self) -> None:
        self.storage.path(VOLUMES[1]).unlink()
        self.assert_refused(VOLUMES[1], "is missing on the compute host")

    def test_unreadable_device_of_a_volume_is_refused(self) -> None:
        self.storage.unreadable.add(VOLUMES[2])
        self.assert_refused(VOLUMES[2], "cannot be read on the compute host")

    def test_stock_rescue_does_not_ask_cinder(self) -> None:
        rebuild = self.useFixture(
            fixtures.MockPatch(
                "stable_rescue.compute.block_device.rebuild", side_effect=DOWN
            )
        ).mock
        self.rescue_server(self.create_rescue_image())
        rebuild.assert_not_called()


class CinderTest(VolumesTestBase):
    """A rescue is refused if Cinder does not answer, or has lost a volume."""

    def test_rescue_is_refused_if_cinder_has_no_good_answer(self) -> None:
        self.run_checks()

    def change_second_volume(self, **changes: Any) -> None:
        """Change fields of the second volume in Cinder's answers to the host."""
        get = self.cinder.fake_get

        def get_changed(context: Any, volume_id: str, microversion: Any = None) -> Any:
            volume = dict(get(context, volume_id, microversion))
            return volume | changes if volume_id == VOLUMES[1] else volume

        self.patch_volume(get_changed)

    def check_cinder_down_for_a_volume_is_refused(self) -> None:
        self.patch_volume(DOWN)
        message = self.assert_refused("the volume service does not answer")
        self.assertNotIn("192.0.2.1", message)

    def check_cinder_down_for_a_connection_is_refused(self) -> None:
        self.patch_cinder("attachment_get", DOWN)
        self.assert_refused("the volume service does not answer")
        self.assertEqual(self.stored, self.connections())

    def check_cinder_down_for_second_connection_keeps_the_first(self) -> None:
        """Nova's refresh saves each connection; a rescue must not."""
        get, calls = self.cinder.fake_attachment_get, []

        def get_first_only(context: Any, attachment_id: str) -> Any:
            calls.append(attachment_id)
            if len(calls) > 1:
                raise DOWN
            return get(context, attachment_id)

        self.patch_cinder("attachment_get", get_first_only)
        self.assert_refused("the volume service does not answer")
        self.assertEqual(self.stored, self.connections())

    def check_deleted_volume_is_refused(self) -> None:
        self.patch_volume(nova_exception.VolumeNotFound(volume_id=VOLUMES[1]))
        self.assert_refused(f"Volume {VOLUMES[1]} could not be found")

    def check_volume_in_error_is_refused(self) -> None:
        self.change_second_volume(status="error")
        self.assert_refused(f"volume {VOLUMES[1]} is error, not in-use")

    def check_detached_volume_is_refused(self) -> None:
        self.change_second_volume(
            status="in-use", attachments={uuids.another_server: {}}
        )
        self.assert_refused(f"volume {VOLUMES[1]} is not attached to the server")

    def check_deleted_attachment_is_refused(self) -> None:
        self.patch_cinder(
            "attachment_get",
            nova_exception.VolumeAttachmentNotFound(
                attachment_id=self.mapping(VOLUMES[1]).attachment_id
            ),
        )
        self.assert_refused(f"volume {VOLUMES[1]} is not attached to the server")

    def check_malformed_connection_info_is_refused(self) -> None:
        malformed = (
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
        for connection_info in malformed:
            with self.subTest(connection_info):
                answer = {"id": "x", "connection_info": connection_info}
                with fixtures.MockPatch(
                    "nova.volume.cinder.API.attachment_get",
                    side_effect=lambda *_args, answer=answer: copy.deepcopy(answer),
                    autospec=False,
                ):
                    self.assert_refused()
                self.assertEqual(self.stored, self.connections())


class StoppedTest(VolumesTestBase):
    """A stopped server whose host was rebooted: its volumes are not connected (U28)."""

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
        self.assertFalse(self.new_paths() & set(self.devices().values()))
        self.rescue_server()
        self.assert_new_paths_used()
        self.unrescue_server("SHUTOFF")
        self.assert_new_paths_used()
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
        disconnected = [
            volume for event, volume in self.storage.events if event == "disconnect"
        ]
        self.assertEqual([second, first], disconnected)

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

    def fail_fetch_after(self, change: Callable[[], object]) -> None:
        """Request a rescue that fails to fetch its medium, after a change."""

        def fail(*_args: Any) -> None:
            change()
            raise OSError(28, "No space left on device")

        with fixtures.MonkeyPatch(
            "stable_rescue.nova_internals.fetch_rescue_disk", fail
        ):
            self.error_of(self.rescue, self.server, self.image)

    def test_rollback_keeps_volumes_that_were_detached_meanwhile(self) -> None:
        """Their devices may belong to another server by now."""

        def detach() -> None:
            self.mapping(VOLUMES[0]).destroy()
            self.cinder.volume_to_attachment[VOLUMES[1]].clear()

        self.fail_fetch_after(detach)
        self.assertEqual(sorted(VOLUMES[:2]), self.storage.connected())

    def test_rollback_keeps_the_volumes_of_a_guest_that_runs(self) -> None:
        self.fail_fetch_after(lambda: self.domain().createWithFlags(0))
        self.assertEqual(sorted(VOLUMES), self.storage.connected())

    def test_failed_connect_updates_the_attachment_and_retries(self) -> None:
        """The volume may be exported to an initiator that the host no longer has."""
        self.storage.broken.add(VOLUMES[1])
        updates = []

        def update(context: Any, attachment: str, connector: Any, device: Any) -> Any:
            updates.append((attachment, connector["initiator"], device))
            self.storage.broken.clear()
            info = self.cinder._find_connection_info(VOLUMES[1], attachment)
            info["data"]["portal"] = "new"
            return {"id": attachment, "connection_info": info}

        self.patch_cinder("attachment_update", update)
        complete = self.patch_cinder("attachment_complete")
        self.useFixture(
            fixtures.MockPatchObject(
                self.driver, "get_volume_connector", return_value={"initiator": "iqn.x"}
            )
        )
        self.rescue_server()
        ((attachment, initiator, device),) = updates
        self.assertEqual("iqn.x", initiator)
        self.assertTrue(device.startswith("/dev/vd"))
        self.assertEqual(attachment, complete.call_args.args[-1])
        connection = self.connections()[VOLUMES[1]]
        self.assertEqual("new", connection["data"]["portal"])
        self.assertEqual(VOLUMES[1], connection["serial"])

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
        """A volume without attachment_id is connected by initialize_connection."""
        mapping = self.mapping(VOLUMES[1])
        mapping.attachment_id = None
        mapping.save()
        data = {"volume_id": VOLUMES[1], "portal": "new"}
        initialize = self.patch_cinder(
            "initialize_connection", [{"driver_volume_type": "fake", "data": data}]
        )
        self.rescue_server()
        initialize.assert_called_once()
        self.assertEqual("new", self.connections()[VOLUMES[1]]["data"]["portal"])
        self.assertEqual(sorted(VOLUMES), self.storage.connected())


class RescuedTest(VolumesTestBase):
    """A rescued server whose host was rebooted: its volumes are not connected (U16)."""

    def setUp(self) -> None:
        super().setUp()
        self.rescue_server()
        self.domain().destroy()
        self.storage.reboot()

    def test_unrescue_after_host_reboot_connects_the_volumes(self) -> None:
        self.unrescue_server()
        self.assertEqual(sorted(VOLUMES), self.storage.connected())
        self.assert_new_paths_used()
        self.assertEqual(power_state.RUNNING, self.nova_state().power_state)

    def test_rescue_starts_when_its_storage_is_ready(self) -> None:
        self.patch_cinder("attachment_update", DOWN)
        # nova-compute is not running when a domain ends, so it gets no event.
        self.libvirt_connection()._event_callbacks.clear()
        for resume in (False, True):
            self.flags(resume_guests_state_on_host_boot=resume)
            if resume:
                self.domain().destroy()
                self.storage.reboot()
            self.storage.broken.add(VOLUMES[0])
            self.restart_compute_service("compute1")
            self.recover_stalled()
            self.assertFalse(self.domain().isActive())
            self.storage.broken.clear()
            self.recover_stalled()
            self.assert_rescued()
        # The user's own power-off is not undone.
        self.domain().destroy()
        self.recover_stalled()
        self.assertFalse(self.domain().isActive())

    def test_unrescue_without_a_volume_recovers_at_restart(self) -> None:
        self.storage.broken.add(VOLUMES[0])
        self.patch_cinder("attachment_update", DOWN)
        self.error_of(self.unrescue, self.server)
        self._wait_for_server_parameter(self.server, {"status": "ERROR"})
        self.storage.broken.clear()
        self.restart_compute_service("compute1")
        self._wait_for_server_parameter(self.server, {"status": "ACTIVE"})
        self.assertEqual(sorted(VOLUMES), self.storage.connected())
        self.assert_new_paths_used()

    def test_failed_unrescue_disconnects_what_it_has_connected(self) -> None:
        """Nothing else disconnects them if the server is deleted while it is off."""
        self.flags(volume_connect_workers=1, group="stable_rescue")
        *connected, broken = self.stored
        self.storage.broken.add(broken)
        self.storage.events.clear()
        self.patch_cinder("attachment_update", DOWN)
        self.error_of(self.unrescue, self.server)
        self._wait_for_server_parameter(self.server, {"status": "ERROR"})
        self.assertLessEqual(
            {("connect", volume) for volume in connected}, {*self.storage.events}
        )
        self.assertEqual([], self.storage.connected())


class MismatchTest(VolumesTestBase):
    """Nova's database and libvirt do not have the same volumes."""

    def delete_mapping(self, volume: str) -> None:
        """Delete a volume from Nova's database, as a failed detach does."""
        self.mapping(volume).destroy()

    def test_volume_unknown_to_nova_is_refused(self) -> None:
        self.delete_mapping(VOLUMES[2])
        self.assert_refused("definition, but not attached to the server")

    def test_volume_unknown_to_nova_is_kept_if_allowed(self) -> None:
        self.flags(allow_mapping_mismatch=True, group="stable_rescue")
        self.delete_mapping(VOLUMES[2])
        devices_before = self.devices()
        self.rescue_server()
        self.assertLessEqual(devices_before.items(), self.devices().items())

    def test_volume_missing_in_libvirt_is_refused(self) -> None:
        target = next(
            name for name, path in self.devices().items() if path.endswith(VOLUMES[1])
        )
        disks = self.domain()._def["devices"]["disks"]
        disks[:] = [disk for disk in disks if disk["target_dev"] != target]
        self.assert_refused(
            f"volume {VOLUMES[1]} is attached to the server as {target}"
        )
