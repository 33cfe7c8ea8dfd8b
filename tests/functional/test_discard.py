# SPDX-License-Identifier: Apache-2.0
"""A rescue with hw_rescue_writes=discard, as users ask for it (E8)."""

import shutil
from pathlib import Path
from typing import Any

import fixtures
from nova import exception as nova_exception
from nova.tests.functional.api import client

from stable_rescue import nova_internals
from stable_rescue.domain import overlays, sources
from stable_rescue.domain.document import Domain, target_of
from tests.functional.failures import NO_MEMORY
from tests.functional.options import Option
from tests.functional.overlays import SIZE, DiscardingMixin, names
from tests.functional.server import ServerTestBase
from tests.functional.volumes import VOLUMES, VolumesTestBase


class DiscardTestBase(DiscardingMixin, ServerTestBase):
    """A server, and an image whose rescue discards what it writes."""

    def overlay_files(self) -> list[str]:
        """Return the names of the overlays in the server's directory, sorted."""
        return sorted(path.name for path in self.folder(self.server).glob("overlay.*"))

    def assert_overlays_used(self) -> None:
        """Assert that each disk has an overlay, which was made once."""
        expected = names(self.record())
        self.assertNotEqual([], expected)
        self.assertEqual(expected, self.overlay_files())
        self.assertEqual(dict.fromkeys(expected, 1), self.overlays.made)
        live = Domain.parse(self.live_definition())
        targets = overlays.targets(Domain.parse(self.record().rescue_xml))
        self.assertEqual(targets, overlays.targets(live))


class DiscardTest(DiscardTestBase):
    def test_overlays_are_used_until_the_unrescue(self) -> None:
        self.rescue_server()
        self.assert_overlays_used()
        self.unrescue_server()
        self.assert_restored()

    def test_overlay_is_as_long_as_it_may_become(self) -> None:
        self.rescue_server()
        for name in self.overlay_files():
            length = (self.folder(self.server) / name).stat().st_size
            self.assertGreater(length, SIZE)
            self.assertLess(length, 2 * SIZE)

    def test_record_is_not_for_releases_without_overlays(self) -> None:
        self.rescue_server()
        text = (self.folder(self.server) / "stable_rescue.json").read_text()
        self.assertIn('"format": 3', text)

    def test_stopped_server_is_restored(self) -> None:
        self._stop_server(self.server)
        self.note_original()
        self.rescue_server()
        self.assert_overlays_used()
        self.unrescue_server("SHUTOFF")
        self.assert_restored(running=False)

    def test_reboot_of_the_host_keeps_what_was_written(self) -> None:
        self.rescue_server()
        for name in self.overlay_files():
            (self.folder(self.server) / name).write_bytes(b"written")
        self.domain().destroy()
        self.restart_compute_service("compute1")
        self.assert_rescued()
        self.assert_overlays_used()
        for name in self.overlay_files():
            content = (self.folder(self.server) / name).read_bytes()
            self.assertEqual(b"written", content)
        self.unrescue_server()
        self.assert_restored()

    def test_deletion_in_rescue_leaves_nothing(self) -> None:
        self.rescue_server()
        # Nova's fixture does not remove the directory.
        self.useFixture(
            fixtures.MockPatch(
                "nova.virt.libvirt.LibvirtDriver.delete_instance_files",
                lambda _driver, instance: shutil.rmtree(
                    self.folder({"id": instance.uuid})
                ),
            )
        )
        self._delete_server(self.server)
        self.assertFalse(self.folder(self.server).exists())

    def test_second_rescue_has_new_overlays(self) -> None:
        self.rescue_server()
        (first, *_others) = self.overlay_files()
        (self.folder(self.server) / first).write_bytes(b"of the first rescue")
        self.unrescue_server()
        self.rescue_server()
        self.assertEqual(
            b"overlay", (self.folder(self.server) / first).read_bytes()[:7]
        )

    def test_failed_start_of_the_rescue_leaves_nothing(self) -> None:
        start = nova_internals.start_guest

        def fail_for_rescue(driver: Any, context: Any, xml: str, instance: Any) -> None:
            if "overlay." in xml:
                raise NO_MEMORY
            start(driver, context, xml, instance)

        self.useFixture(
            fixtures.MonkeyPatch(
                "stable_rescue.nova_internals.start_guest", fail_for_rescue
            )
        )
        self.error_of(self.rescue, self.server, self.image)
        self.assert_restored()


class DiscardRefusedTest(DiscardTestBase):
    def test_rescue_is_refused(self) -> None:
        self.run_checks()

    def check_operator_has_to_allow_it(self) -> None:
        self.useFixture(Option(allowed_writes=["keep"]))
        self.assert_refused("hw_rescue_writes=discard; the operator allows keep")

    def check_operator_may_have_forbidden_the_rest(self) -> None:
        self.useFixture(Option(allowed_writes=["discard"]))
        image = self.create_rescue_image(hw_rescue_bus="usb", hw_rescue_writes="keep")
        self.assert_refused("the operator allows discard", image=image)

    def check_stock_rescue_cannot_do_it(self) -> None:
        image = self.create_rescue_image(hw_rescue_writes="discard")
        self.assert_refused("asks for a stock rescue", image=image)

    def check_unknown_value_is_refused_with_the_list(self) -> None:
        image = self.create_rescue_image(hw_rescue_bus="usb", hw_rescue_writes="undo")
        self.assert_refused("allowed are keep, discard", image=image)

    def check_host_without_space_is_refused(self) -> None:
        self.useFixture(
            fixtures.MockPatch(
                "stable_rescue.storage.overlays.largest_overlay", return_value=2**60
            )
        )
        self.useFixture(Option(overlay_max_size=0))
        self.assert_refused("the compute host has no space", "ask the operator")

    def check_host_without_direct_io_is_refused(self) -> None:
        for name, value in (
            ("nova_privsep_utils.supports_direct_io", lambda _path: False),
            ("_WITHOUT_PAGE_CACHE", ("", "none", "writethrough", "writeback")),
        ):
            self.useFixture(
                fixtures.MonkeyPatch(f"stable_rescue.storage.overlays.{name}", value)
            )
        self.assert_refused("is used without the host's page cache")

    def check_failure_of_qemu_img_leaves_nothing(self) -> None:
        def fail(path: str, *_args: Any) -> None:
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device")

        self.useFixture(
            fixtures.MonkeyPatch(
                "stable_rescue.storage.overlays.libvirt_utils.create_image", fail
            )
        )
        self.assert_refused("No space left on device")


class DiscardWithVolumesTest(DiscardTestBase, VolumesTestBase):
    """All volumes have overlays, and what is below them follows the host."""

    def assert_below(self) -> None:
        self.assert_overlays_used()
        paths = {str(self.storage.path(volume)) for volume in VOLUMES}
        self.assertLessEqual(paths, below(self.recorded_rescue()))
        self.assertEqual(set(), paths & set(self.devices().values()))

    def test_volumes_are_below_overlays_until_the_unrescue(self) -> None:
        self.rescue_server()
        self.assert_below()
        self.unrescue_server()
        self.assert_restored()

    def test_new_paths_after_a_host_reboot_are_below_the_overlays(self) -> None:
        """If they took the place of the overlays, the rescue would write to them."""
        self.rescue_server()
        started = self.useFixture(_Started()).definitions
        self.domain().destroy()
        self.storage.reboot()
        self.restart_compute_service("compute1")
        self.assert_rescued()
        self.assert_overlays_used()
        (rescue,) = started
        self.assertLessEqual(self.new_paths(), below(rescue))
        self.assertEqual(set(), self.new_paths() & set(self.devices().values()))
        self.unrescue_server()
        self.assert_new_paths_used()
        self.assertEqual([], self.overlay_files())

    def test_snapshot_just_before_the_power_off_is_below_its_overlay(self) -> None:
        power_off = self.driver.power_off
        old, new = str(self.storage.path(VOLUMES[0])), "/snapshot"

        def snapshot_and_power_off(*args: Any) -> None:
            domain = self.domain()
            for definition in (domain._def, getattr(domain, "_next", domain._def)):
                for disk in definition["devices"]["disks"]:
                    if disk["source"] == old:
                        disk.update(source=new, driver_type="qcow2")
            power_off(*args)

        self.useFixture(
            fixtures.MockPatchObject(self.driver, "power_off", snapshot_and_power_off)
        )
        self.rescue_server()
        self.assertIn(new, below(self.recorded_rescue()))
        self.assertNotIn(new, self.devices().values())

    def test_snapshot_in_rescue_is_refused(self) -> None:
        self.rescue_server()
        update = self.patch_cinder("update_snapshot_status")
        info = {"snapshot_id": "s", "type": "qcow2", "new_file": "new"}
        for call, details in (
            ("volume_snapshot_create", (VOLUMES[0], info)),
            ("volume_snapshot_delete", (VOLUMES[0], "s", {"type": "qcow2"})),
        ):
            error = self.assertRaises(
                nova_exception.InvalidVolume,
                getattr(self.driver, call),
                self.context,
                self.instance(),
                *details,
            )
            self.assertIn("discards its writes", str(error))
        statuses = [call.args[2] for call in update.call_args_list]
        self.assertEqual(["error", "error_deleting"], statuses)
        self.unrescue_server()
        self.assert_restored()

    def test_volume_that_arrives_in_rescue_is_not_attached(self) -> None:
        self.rescue_server()
        before = self.devices()
        info = {"driver_volume_type": "fake", "data": {"volume_id": "late"}}
        self.assertRaises(
            nova_exception.InvalidVolume,
            self.driver.attach_volume,
            *(self.context, info, self.instance(), "/dev/vdx"),
        )
        self.assertEqual(before, self.devices())

    def test_volume_that_has_an_overlay_is_not_swapped(self) -> None:
        self.rescue_server()
        (target,) = self.targets_of(VOLUMES[0])
        self.assertRaises(
            nova_exception.InvalidVolume,
            self.driver.swap_volume,
            *(self.context, {}, {}, self.instance(), f"/dev/{target}", 1),
        )

    def test_late_detach_of_a_volume_removes_its_overlay(self) -> None:
        # Nova's fixture sends no event when a device is gone.
        self.flags(device_detach_timeout=1, group="libvirt")
        self.rescue_server()
        (target,) = self.targets_of(VOLUMES[0])
        self.driver.detach_volume(
            self.context,
            self.connections()[VOLUMES[0]],
            self.instance(),
            f"/dev/{target}",
        )
        self.assertNotIn(f"overlay.{target}.rescue", self.overlay_files())
        self.assertEqual(len(VOLUMES), len(self.overlay_files()))

    def test_api_has_no_snapshot_or_attachment_in_rescue(self) -> None:
        self.rescue_server()
        server = self.server["id"]
        attachment = {"volumeAttachment": {"volumeId": VOLUMES[0]}}
        for request, args in (
            (self.api.post_server_action, (server, {"createImage": {"name": "s"}})),
            (self.api.post_server_volume, (server, attachment)),
            (self.api.delete_server_volume, (server, VOLUMES[0])),
        ):
            error = self.assertRaises(client.OpenStackApiException, request, *args)
            self.assertEqual(409, error.response.status_code)

    def targets_of(self, volume: str) -> list[str]:
        return [
            target_of(disk)[0]
            for disk in Domain.parse(self.live_definition()).disks()
            if sources.serial_of(disk) == volume
        ]


class _Started(fixtures.Fixture):
    """Keeps the definitions that are started in ``definitions``."""

    def _setUp(self) -> None:
        self.definitions: list[Domain] = []
        start = nova_internals.start_guest

        def keep_and_start(driver: Any, context: Any, xml: str, instance: Any) -> None:
            self.definitions.append(Domain.parse(xml))
            start(driver, context, xml, instance)

        self.useFixture(
            fixtures.MonkeyPatch(
                "stable_rescue.nova_internals.start_guest", keep_and_start
            )
        )


def below(rescue: Domain) -> set[str]:
    """Return the paths of what is below the overlays in a rescue definition."""
    sources_below = [
        overlays.source_below(disk)
        for disk in rescue.disks()
        if target_of(disk)[0] in overlays.targets(rescue)
    ]
    return {each.get("dev") or each.get("file") for each in sources_below}
