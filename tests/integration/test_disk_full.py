# SPDX-License-Identifier: Apache-2.0
"""A rescue is refused if the filesystem runs full while it is prepared.

A rescued server is unrescued nevertheless.

The filesystem is a real tmpfs, so the tests need root. All else is as in the functional
tests.
"""

import os
import subprocess
from pathlib import Path

from oslo_utils import units

from tests.functional import images

CONF = images.CONF
# The filesystem has room for one image of this size, not for two.
DATA = os.urandom(6 * units.Mi)


class DiskFullTest(images.ImagesTestBase):
    images_type = "flat"

    def limit_space(self) -> None:
        """Mount the small filesystem, in the test's own process."""
        root = CONF.instances_path
        mount = ["mount", "-t", "tmpfs", "-o", "size=10m", "none", root]
        subprocess.run(mount, check=True)
        self.addCleanup(subprocess.run, ["umount", root], check=True)
        self.folder(self.server).mkdir()

    def free_bytes(self) -> int:
        status = os.statvfs(CONF.instances_path)
        return status.f_bavail * status.f_bsize

    def assert_space_released(self, free_before: int) -> None:
        """Check that only Nova's cache directory and lock file take space."""
        self.assertLess(free_before - self.free_bytes(), units.Mi)

    def test_disk_full_while_the_image_is_fetched_is_refused(self) -> None:
        self.limit_space()
        image, free_before = self.add_image(DATA + DATA), self.free_bytes()
        self.assert_refused("No space left on device", image=image)
        self.assert_space_released(free_before)

    def test_disk_full_while_the_image_is_converted_is_refused(self) -> None:
        self.limit_space()
        raw, qcow2 = self.files_made / "raw", self.files_made / "qcow2"
        raw.write_bytes(DATA)
        self.run_tool("qemu-img", "convert", "-O", "qcow2", raw, qcow2)
        image = self.add_image(qcow2.read_bytes(), "qcow2")
        free_before = self.free_bytes()
        message = self.assert_refused("cannot be used", image=image)
        self.assertNotIn(CONF.instances_path, message)
        self.assert_space_released(free_before)

    def test_disk_full_while_the_medium_is_made_is_refused(self) -> None:
        """The image stays in the cache, because it is complete and inspected."""
        self.limit_space()
        image = self.add_cached_image(DATA)
        self.assert_refused("cannot prepare the rescue", image=image)
        self.assertEqual(DATA, self.base_of(image).read_bytes())

    def test_disk_full_while_the_record_is_written_is_refused(self) -> None:
        self.limit_space()
        filler = Path(CONF.instances_path, "filler")
        filler.write_bytes(bytes(self.free_bytes()))
        image = self.add_image(DATA)
        self.assert_refused("No space left on device", image=image)

    def test_unrescue_works_with_no_byte_free(self) -> None:
        self.limit_space()
        image = self.add_cached_image(DATA[: units.Mi])
        self.note_original()
        self.rescue_server(image)
        filler = Path(CONF.instances_path, "filler")
        filler.write_bytes(bytes(self.free_bytes()))
        self.assertEqual(0, self.free_bytes())
        self.unrescue_server()
        filler.unlink()
        self.assert_restored()
