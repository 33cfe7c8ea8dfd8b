# SPDX-License-Identifier: Apache-2.0

import json
from pathlib import Path

import ddt
import fixtures
from oslotest import base

from stable_rescue.storage import disk_info


@ddt.ddt
class ForgetTest(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.useFixture(fixtures.TempDir()).path)
        self.path = self.folder / "disk.info"

    def forget(self) -> None:
        disk_info.forget(str(self.folder), ["disk.rescue", "never"])

    def write(self, *names: str) -> str:
        text = json.dumps({str(self.folder / name): "qcow2" for name in names}) + "\n"
        self.path.write_text(text)
        return text

    def test_the_others_stay(self) -> None:
        self.write("disk", "disk.rescue", "disk.eph0")
        self.forget()
        left = json.loads(self.path.read_text())
        self.assertEqual(
            [str(self.folder / "disk"), str(self.folder / "disk.eph0")], list(left)
        )

    def test_the_last_one_takes_the_file_with_it(self) -> None:
        self.write("disk.rescue")
        self.forget()
        self.assertEqual([], list(self.folder.iterdir()))

    def test_nothing_to_forget(self) -> None:
        text = self.write("disk")
        was = self.path.stat()
        self.forget()
        self.assertEqual(text, self.path.read_text())
        self.assertEqual(was.st_ino, self.path.stat().st_ino)

    def test_no_file(self) -> None:
        self.forget()
        self.assertEqual([], list(self.folder.iterdir()))

    @ddt.data("", "{", "[]", "\x00")
    def test_what_nova_cannot_read_is_left(self, text: str) -> None:
        self.path.write_text(text)
        self.forget()
        self.assertEqual(text, self.path.read_text())
