# SPDX-License-Identifier: Apache-2.0
"""The entry of a rescue disk in Nova's file disk.info."""

import json
from pathlib import Path

import ddt
import fixtures
from oslotest import base

from stable_rescue.storage import disk_info


@ddt.ddt
class RemoveTest(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.useFixture(fixtures.TempDir()).path)
        self.path = self.folder / "disk.info"

    def remove(self) -> None:
        disk_info.remove(str(self.folder), ["disk.rescue", "never"])

    def write(self, *names: str) -> str:
        text = json.dumps({str(self.folder / name): "qcow2" for name in names}) + "\n"
        self.path.write_text(text)
        return text

    def test_other_disks_are_kept(self) -> None:
        self.write("disk", "disk.rescue", "disk.eph0")
        self.remove()
        left = json.loads(self.path.read_text())
        self.assertEqual(
            [str(self.folder / "disk"), str(self.folder / "disk.eph0")], list(left)
        )

    def test_file_without_other_disks_is_removed(self) -> None:
        self.write("disk.rescue")
        self.remove()
        self.assertEqual([], list(self.folder.iterdir()))

    def test_unlisted_disk_changes_nothing(self) -> None:
        text = self.write("disk")
        inode = self.path.stat().st_ino
        self.remove()
        self.assertEqual(text, self.path.read_text())
        self.assertEqual(inode, self.path.stat().st_ino)

    def test_missing_file_is_no_error(self) -> None:
        self.remove()
        self.assertEqual([], list(self.folder.iterdir()))

    @ddt.data("", "{", "[]", "\x00")
    def test_unreadable_file_is_kept(self, text: str) -> None:
        self.path.write_text(text)
        self.remove()
        self.assertEqual(text, self.path.read_text())
