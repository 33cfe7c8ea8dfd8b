# SPDX-License-Identifier: Apache-2.0
"""The rescue medium, on a real disk, through Nova's own image backends."""

import json
from pathlib import Path
from unittest import mock

from nova.tests.functional.api import client
from oslo_utils import units

from stable_rescue.domain import recognise
from stable_rescue.domain.document import Domain
from tests.functional import images

ONE, TWO = b"1" * units.Mi, b"2" * units.Mi


class MediumTest(images.ImagesTestBase):
    def medium(self) -> Path:
        return self.folder(self.server) / "disk.rescue"

    def test_medium_holds_the_image_until_unrescue(self) -> None:
        before = self.files(self.server)
        self.rescue_server(self.add_image(ONE))
        self.assertEqual(ONE, self.content_of(self.medium()))
        # U22: nothing that the rescue does not use, a swap disk first of all.
        self.assertEqual(
            ["disk.info", "disk.rescue", "stable_rescue.json", "unrescue.xml"],
            self.files(self.server),
        )
        self.unrescue_server()
        self.assertEqual(before, self.files(self.server))

    def test_second_image_is_used_after_a_failed_rescue(self) -> None:
        """U9: rescue by A, which fails, then by B: B boots."""
        with mock.patch(
            "nova.virt.libvirt.guest.Guest.launch", side_effect=OSError(12, "no memory")
        ):
            self.assertRaises(
                client.OpenStackApiException,
                self.rescue,
                self.server,
                self.add_image(ONE),
            )
        self._wait_for_server_parameter(self.server, {"OS-EXT-STS:task_state": None})
        self.rescue_server(self.add_image(TWO))
        self.assertEqual(TWO, self.content_of(self.medium()))

    def test_medium_of_a_killed_process_is_not_used(self) -> None:
        """U9, and a half made one beside it."""
        self.medium().write_bytes(ONE)
        (self.folder(self.server) / ".disk.rescue.new").write_bytes(b"half")
        self.rescue_server(self.add_image(TWO))
        self.assertEqual(TWO, self.content_of(self.medium()))
        self.unrescue_server()
        self.assertEqual([], self.files(self.server))

    def test_format_of_the_last_medium_is_not_kept(self) -> None:
        """Nova's disk.info would have QEMU read the second by the first's format."""
        self.flags(force_raw_images=False)
        self.flags(images_type="flat", group="libvirt")
        for image_format, data in (("qcow2", self.make("qcow2")), ("raw", TWO)):
            self.rescue_server(self.add_image(data, image_format))
            known = json.loads((self.folder(self.server) / "disk.info").read_text())
            self.assertEqual({str(self.medium()): image_format}, known)
            disk = recognise.rescue_disk(Domain.parse(self.definition(self.server)))
            self.assertEqual(image_format, disk.find("driver").get("type"))
            self.unrescue_server()
        self.assertEqual([], self.files(self.server))

    def test_incomplete_medium_never_has_the_final_name(self) -> None:
        """Nova's own driver uses what it finds."""
        seen = []

        def create(path: str, *args: object, **kwargs: object) -> None:
            seen.append((Path(path).name, self.medium().exists()))
            raise OSError(28, "No space left on device")

        with mock.patch("nova.virt.libvirt.utils.create_image", create):
            image = self.cached(ONE)
            self.assert_refused("No space left on device", image=image)
        self.assertEqual([(".disk.rescue.new", False)], seen)

    def cached(self, data: bytes) -> str:
        """Return an image that the host's cache has already."""
        image_id = self.add_image(data)
        base = self.base_of(image_id)
        base.parent.mkdir(exist_ok=True)
        base.write_bytes(data)
        return image_id

    def test_cdrom_of_an_iso_is_read_only(self) -> None:
        (self.files_made / "in").mkdir()
        iso = self.files_made / "iso"
        self.run_tool("genisoimage", "-o", iso, self.files_made / "in")
        data = iso.read_bytes()
        self.rescue_server(
            self.add_image(
                data, "iso", {"hw_rescue_device": "cdrom", "hw_rescue_bus": "ide"}
            )
        )
        # Nova's fixture forgets it: what was given to libvirt.
        record = json.loads(
            (self.folder(self.server) / "stable_rescue.json").read_text()
        )
        disk = recognise.rescue_disk(Domain.parse(record["rescue_xml"]))
        self.assertEqual("cdrom", disk.get("device"))
        self.assertIsNotNone(disk.find("readonly"))
        self.assertEqual(data, self.content_of(self.medium())[: len(data)])

    def test_kernel_of_the_image_is_fetched_and_removed(self) -> None:
        """Nova writes its format down, too."""
        kernel = self.add_image(TWO)
        self.rescue_server(self.add_image(ONE, properties={"kernel_id": kernel}))
        made = self.folder(self.server) / "kernel.rescue"
        self.assertEqual(TWO, made.read_bytes())
        self.unrescue_server()
        self.assertEqual([], self.files(self.server))

    def test_medium_has_the_hosts_cache_mode_and_discard(self) -> None:
        """U27."""
        self.flags(disk_cachemodes=["file=writethrough"], group="libvirt")
        self.flags(hw_disk_discard="unmap", group="libvirt")
        self.restart_compute_service("compute1")
        self.rescue_server(self.add_image(ONE))
        record = json.loads(
            (self.folder(self.server) / "stable_rescue.json").read_text()
        )
        disk = recognise.rescue_disk(Domain.parse(record["rescue_xml"]))
        settings = disk.find("driver")
        self.assertEqual("writethrough", settings.get("cache"))
        self.assertEqual("unmap", settings.get("discard"))

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
            self.assert_refused(image=self.cached(ONE))
        self.assertEqual(".disk.rescue.new", Path(copy.call_args.args[1]).name)
