# SPDX-License-Identifier: Apache-2.0
"""A real filesystem runs full while a rescue is prepared; needs root.

Nova's API, compute service and image backends are as in the functional tests.
"""

import os
import subprocess
from pathlib import Path

from oslo_utils import units

from tests.functional import images

CONF = images.CONF
# One of it has room on the filesystem, two have not.
DATA = os.urandom(6 * units.Mi)


class DiskFullTest(images.ImagesTestBase):
    images_type = "flat"

    def setUp(self) -> None:
        super().setUp()
        root = CONF.instances_path
        mount = ["mount", "-t", "tmpfs", "-o", "size=10m", "none", root]
        subprocess.run(mount, check=True)
        self.addCleanup(subprocess.run, ["umount", root], check=True)
        self.folder(self.server).mkdir()

    def free(self) -> int:
        found = os.statvfs(CONF.instances_path)
        return found.f_bavail * found.f_bsize

    def test_while_it_is_fetched(self) -> None:
        image, before = self.add_image(DATA + DATA), self.free()
        self.assertIn("No space left on device", self.refused(image))
        # The directory and the lock that Nova makes are pages of their own.
        self.assertLess(before - self.free(), units.Mi)

    def test_while_it_is_converted(self) -> None:
        raw, qcow2 = self.files_made / "raw", self.files_made / "qcow2"
        raw.write_bytes(DATA)
        self.run_tool("qemu-img", "convert", "-O", "qcow2", raw, qcow2)
        image, before = self.add_image(qcow2.read_bytes(), "qcow2"), self.free()
        told = self.refused(image)
        self.assertIn("cannot be used", told)
        self.assertNotIn(CONF.instances_path, told)
        self.assertLess(before - self.free(), units.Mi)

    def test_while_the_medium_is_made(self) -> None:
        """The image stays in the cache: it is whole, and was inspected."""
        image = self.add_image(DATA)
        base = self.base_of(image)
        base.parent.mkdir()
        base.write_bytes(DATA)
        told = self.refused(image)
        self.assertIn("cannot prepare the rescue", told)
        self.assertEqual(DATA, base.read_bytes())

    def test_while_the_record_is_written(self) -> None:
        filler = Path(CONF.instances_path, "filler")
        filler.write_bytes(bytes(self.free()))
        told = self.refused(self.add_image(DATA))
        self.assertIn("No space left on device", told)
