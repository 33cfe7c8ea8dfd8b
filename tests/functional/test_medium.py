# SPDX-License-Identifier: Apache-2.0
"""The rescue medium on a real disk, made by Nova's image backends."""

import json
from pathlib import Path
from unittest import mock

from oslo_utils import units

from stable_rescue.domain import recognize
from tests.functional import images

ONE, TWO = b"1" * units.Mi, b"2" * units.Mi


class MediumTest(images.ImagesTestBase):
    def medium(self) -> Path:
        return self.folder(self.server) / "disk.rescue"

    def test_each_rescue_has_its_own_medium_until_unrescue(self) -> None:
        # Nova's image cache keeps the images of earlier checks.
        with mock.patch.object(self, "files_of_host", dict):
            self.note_original()
            self.run_checks()

    def check_medium_holds_the_image_until_unrescue(self) -> None:
        files_before = self.files(self.server)
        self.rescue_server(self.add_image(ONE))
        self.assertEqual(ONE, self.content_of(self.medium()))
        # A rescue makes no files that it does not use, such as a swap disk (U22).
        self.assertEqual(
            ["disk.info", "disk.rescue", "stable_rescue.json", "unrescue.xml"],
            self.files(self.server),
        )
        self.unrescue_server()
        self.assertEqual(files_before, self.files(self.server))

    def check_second_image_is_used_after_a_failed_rescue(self) -> None:
        """U9."""
        with mock.patch(
            "nova.virt.libvirt.guest.Guest.launch", side_effect=OSError(12, "no memory")
        ):
            self.error_of(self.rescue, self.server, self.add_image(ONE))
        self._wait_for_server_parameter(self.server, {"OS-EXT-STS:task_state": None})
        self.rescue_server(self.add_image(TWO))
        self.assertEqual(TWO, self.content_of(self.medium()))
        self.unrescue_server()

    def check_medium_of_a_killed_process_is_not_used(self) -> None:
        """U9: neither a complete medium nor a part of one."""
        self.medium().write_bytes(ONE)
        (self.folder(self.server) / ".disk.rescue.new").write_bytes(b"part")
        self.rescue_server(self.add_image(TWO))
        self.assertEqual(TWO, self.content_of(self.medium()))
        self.unrescue_server()
        self.assertEqual([], self.files(self.server))

    def test_format_of_the_last_medium_is_not_kept(self) -> None:
        """Nova would read the next medium by the format that disk.info keeps."""
        self.flags(force_raw_images=False)
        self.flags(images_type="flat", group="libvirt")
        for image_format, data in (("qcow2", self.make("qcow2")), ("raw", TWO)):
            self.rescue_server(self.add_image(data, image_format))
            formats = json.loads((self.folder(self.server) / "disk.info").read_text())
            self.assertEqual({str(self.medium()): image_format}, formats)
            driver = self.rescue_disk().find("driver")
            self.assertEqual(image_format, driver.get("type"))
            self.unrescue_server()
        self.assertEqual([], self.files(self.server))

    def test_incomplete_medium_never_has_the_final_name(self) -> None:
        """Nova's driver would use a file of that name without a check (U9)."""
        created = []

        def create(path: str, *args: object, **kwargs: object) -> None:
            created.append((Path(path).name, self.medium().exists()))
            raise OSError(28, "No space left on device")

        image = self.add_cached_image(ONE)
        with mock.patch("nova.virt.libvirt.utils.create_image", create):
            self.assert_refused("No space left on device", image=image)
        self.assertEqual([(".disk.rescue.new", False)], created)

    def check_cdrom_of_an_iso_is_read_only(self) -> None:
        (self.files_made / "in").mkdir()
        iso = self.files_made / "iso"
        self.run_tool("genisoimage", "-o", iso, self.files_made / "in")
        data = iso.read_bytes()
        self.rescue_server(
            self.add_image(
                data, "iso", {"hw_rescue_device": "cdrom", "hw_rescue_bus": "ide"}
            )
        )
        disk = recognize.rescue_disk(self.recorded_rescue())
        self.assertEqual("cdrom", disk.get("device"))
        self.assertIsNotNone(disk.find("readonly"))
        self.assertEqual(data, self.content_of(self.medium())[: len(data)])
        self.unrescue_server()

    def check_kernel_of_the_image_is_fetched_and_removed(self) -> None:
        """Nova writes the kernel's format to disk.info, too."""
        kernel = self.add_image(TWO)
        self.rescue_server(self.add_image(ONE, properties={"kernel_id": kernel}))
        fetched = self.folder(self.server) / "kernel.rescue"
        self.assertEqual(TWO, fetched.read_bytes())
        self.unrescue_server()
        self.assertEqual([], self.files(self.server))

    def test_medium_has_the_hosts_cache_mode_and_discard(self) -> None:
        """U27."""
        self.flags(disk_cachemodes=["file=writethrough"], group="libvirt")
        self.flags(hw_disk_discard="unmap", group="libvirt")
        self.restart_compute_service("compute1")
        self.rescue_server(self.add_image(ONE))
        driver = recognize.rescue_disk(self.recorded_rescue()).find("driver")
        self.assertEqual("writethrough", driver.get("cache"))
        self.assertEqual("unmap", driver.get("discard"))

    def test_delete_of_a_rescued_server_leaves_no_files(self) -> None:
        self.rescue_server(self.add_image(ONE))
        folder = self.folder(self.server)
        self._delete_server(self.server)
        self.assertFalse(folder.exists())


class FlatMediumTest(MediumTest):
    images_type = "flat"

    def test_incomplete_medium_never_has_the_final_name(self) -> None:
        with mock.patch(
            "nova.virt.libvirt.utils.copy_image",
            side_effect=OSError(28, "No space left on device"),
        ) as copy:
            self.assert_refused(image=self.add_cached_image(ONE))
        self.assertEqual(".disk.rescue.new", Path(copy.call_args.args[1]).name)
