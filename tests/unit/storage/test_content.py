# SPDX-License-Identifier: Apache-2.0
"""Images of qemu-img and genisoimage, some of them malicious, are inspected."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ddt
import fixtures
from nova import conf as nova_conf
from nova import exception as nova_exception
from nova.virt import images
from oslo_utils import units
from oslotest import base

from stable_rescue.storage import content
from stable_rescue.storage.content import Content

CONF = nova_conf.CONF
# Nova's message about content that is not of the image's disk format.
UNFIT = "not in a supported format"


class ImageApi:
    """Serves a file like Nova's image API, and counts the bytes that were read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes_read = 0

    def download(self, context: Any, image_id: str) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            while chunk := file.read(64 * units.Ki):
                self.bytes_read += len(chunk)
                yield chunk


class ImagesTestBase(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.useFixture(fixtures.TempDir()).path)
        self.path = self.folder / "image"

    def run_tool(self, *command: str) -> None:
        subprocess.run(command, check=True, capture_output=True)

    def create(self, image_format: str, *options: str, size: str = "8M") -> None:
        self.run_tool(
            "qemu-img", "create", "-f", image_format, *options, str(self.path), size
        )

    def read(self, disk_format: str) -> Content | None:
        self.api = ImageApi(self.path)
        image = {"id": "i", "disk_format": disk_format}
        return content.read(self.api, None, image | {"size": self.path.stat().st_size})

    def refused(self, disk_format: str) -> str:
        refused = self.assertRaises(
            nova_exception.ImageUnacceptable, self.read, disk_format
        )
        return str(refused)


@ddt.ddt
class ReadTest(ImagesTestBase):
    def test_qcow2_has_virtual_size_of_its_header(self) -> None:
        self.create("qcow2", size="900T")
        self.assertEqual(Content(900 * units.Ti, False), self.read("qcow2"))

    def test_raw_has_its_size(self) -> None:
        self.path.write_bytes(bytes(3 * units.Mi))
        self.assertEqual(Content(3 * units.Mi, False), self.read("raw"))

    def test_raw_boot_sector_is_detected(self) -> None:
        sector = bytearray(512)
        sector[446:462] = b"\x80\x20\x21\x00\x83\xff\xff\xff" + b"\x00\x08\x00\x00" * 2
        sector[510:] = b"\x55\xaa"
        self.path.write_bytes(sector + bytes(units.Mi))
        self.assertEqual(Content(units.Mi + 512, True), self.read("raw"))

    def test_plain_iso_has_no_boot_sector(self) -> None:
        (self.folder / "in").mkdir()
        self.run_tool("genisoimage", "-o", str(self.path), str(self.folder / "in"))
        self.assertFalse(self.read("iso").has_boot_sector)

    def test_only_the_head_is_read(self) -> None:
        self.path.write_bytes(bytes(16 * units.Mi))
        self.read("raw")
        self.assertEqual(4 * units.Mi, self.api.bytes_read)

    @ddt.data("qcow2", "iso", "vmdk")
    def test_wrong_disk_format_is_rejected(self, disk_format: str) -> None:
        self.path.write_bytes(bytes(units.Mi))
        self.assertIn(UNFIT, self.refused(disk_format))

    @ddt.data("qcow2", "vmdk", "vdi", "vhdx")
    def test_other_format_declared_raw_is_rejected(self, image_format: str) -> None:
        """QEMU would open the other format if it probed the file."""
        self.create(image_format)
        self.assertIn(UNFIT, self.refused("raw"))

    def test_backing_file_is_rejected(self) -> None:
        self.create("qcow2", "-u", "-b", "/etc/shadow", "-F", "raw")
        self.assertIn("does not pass safety check", self.refused("qcow2"))

    def test_data_file_is_rejected(self) -> None:
        self.create("qcow2", "-o", f"data_file={self.folder}/data")
        header = self.path.read_bytes().replace(
            f"{self.folder}/data".encode(), b"/etc/shadow"
        )
        self.path.write_bytes(header)
        self.assertIn("does not pass safety check", self.refused("qcow2"))

    def test_truncated_header_is_rejected(self) -> None:
        self.create("qcow2")
        self.path.write_bytes(self.path.read_bytes()[:100])
        self.assertIn(UNFIT, self.refused("qcow2"))

    def test_empty_file_is_rejected(self) -> None:
        self.path.touch()
        self.assertIn(UNFIT, self.refused("qcow2"))

    def test_no_file_is_left_even_after_a_kill(self) -> None:
        """The temporary file has no name while Nova inspects it."""
        temporary = self.useFixture(fixtures.TempDir()).path
        self.useFixture(fixtures.MonkeyPatch("tempfile.tempdir", temporary))
        inspect, files = images.do_image_deep_inspection, []

        def inspect_and_list(*args: Any) -> None:
            files.extend(Path(temporary).iterdir())
            inspect(*args)

        self.useFixture(
            fixtures.MonkeyPatch(
                "nova.virt.images.do_image_deep_inspection", inspect_and_list
            )
        )
        self.create("qcow2", "-u", "-b", "/etc/shadow", "-F", "raw")
        self.refused("qcow2")
        self.assertEqual([], [*files, *Path(temporary).iterdir()])

    def test_nothing_is_read_if_signatures_are_verified(self) -> None:
        CONF.set_override("verify_glance_signatures", True, "glance")
        self.addCleanup(CONF.clear_override, "verify_glance_signatures", "glance")
        self.path.touch()
        self.assertIsNone(self.read("raw"))
        self.assertEqual(0, self.api.bytes_read)

    def test_size_is_read_if_inspection_is_turned_off(self) -> None:
        name = "disable_deep_image_inspection"
        CONF.set_override(name, True, "workarounds")
        self.addCleanup(CONF.clear_override, name, "workarounds")
        self.create("qcow2", "-u", "-b", "/etc/shadow", "-F", "raw", size="9T")
        self.assertEqual(Content(9 * units.Ti, False), self.read("qcow2"))
