# SPDX-License-Identifier: Apache-2.0
"""root gets the password of the config drive or of the metadata service."""

import json
from pathlib import Path
from unittest import mock

import fixtures
from oslotest import base
from rescue_tools import login
from rescue_tools.disks import Device

from tests.unit.rescue_image.fakes import FakeCommands, device, own_disk, write


class LoginTestCase(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.useFixture(fixtures.TempDir()).path)
        for name in ("STATE", "_NOTE", "_CLOUD_INIT"):
            value = self.folder / name
            self.useFixture(fixtures.MonkeyPatch(f"rescue_tools.login.{name}", value))
        login.STATE.mkdir()
        self.passwords: list[str] = []
        self.useFixture(
            fixtures.MonkeyPatch(
                "rescue_tools.login.set_password", self.passwords.append
            )
        )

    def run_login(self, source: str, on_drives: dict[str, str]) -> None:
        entries = [device(path, "disk", label="config-2") for path in on_drives]
        commands = FakeCommands(own_disk(), *entries)
        with (
            mock.patch.object(login, "Commands", return_value=commands),
            mock.patch.object(login, "password_on", lambda one: on_drives[one.path]),
        ):
            self.assertEqual(0, login.main([source]))

    def test_password_of_the_config_drive_is_set(self) -> None:
        self.run_login("config-drive", {"/dev/vdb": "secret"})
        self.assertEqual(["secret"], self.passwords)
        self.assertFalse(login._NOTE.exists())

    def test_drive_without_password_is_passed_over(self) -> None:
        self.run_login("config-drive", {"/dev/vdb": "", "/dev/vdc": "secret"})
        self.assertEqual(["secret"], self.passwords)

    def test_no_password_leaves_root_locked_and_says_so(self) -> None:
        self.run_login("config-drive", {})
        self.assertEqual([], self.passwords)
        self.assertIn("config_drive = always", login._NOTE.read_text())

    def test_password_of_metadata_is_set_and_the_note_removed(self) -> None:
        self.run_login("config-drive", {})
        data = {"ds": {"meta_data": {"admin_pass": "late"}}}
        write(self.folder, {"_CLOUD_INIT": json.dumps(data)})
        self.run_login("metadata", {})
        self.assertEqual(["late"], self.passwords)
        self.assertFalse(login._NOTE.exists())

    def test_password_of_the_config_drive_is_not_replaced(self) -> None:
        self.run_login("config-drive", {"/dev/vdb": "secret"})
        data = {"ds": {"meta_data": {"admin_pass": "other"}}}
        write(self.folder, {"_CLOUD_INIT": json.dumps(data)})
        self.run_login("metadata", {})
        self.assertEqual(["secret"], self.passwords)

    def test_no_metadata_leaves_root_locked(self) -> None:
        self.run_login("metadata", {})
        self.assertEqual([], self.passwords)

    def test_what_is_no_password_is_ignored(self) -> None:
        for text in ("", "[]", "{}", '{"admin_pass": 1}', '{"admin_pass": "a\\nb:c"}'):
            self.assertEqual("", login.password_in(text), text)
        for text in ("", "[]", '{"ds": {}}', '{"ds": {"meta_data": []}}'):
            self.assertEqual("", login.password_of_cloud_init(text), text)
        self.assertEqual("a:b", login.password_in('{"admin_pass": "a:b"}'))

    def test_whole_devices_come_before_partitions(self) -> None:
        drives = [
            Device("/dev/vda2", "vda2", "part", 1, label="config-2"),
            Device("/dev/sr0", "sr0", "rom", 1, label="CONFIG-2"),
            Device("/dev/vdb", "vdb", "disk", 1, label="data"),
        ]
        found = [drive.path for drive in login.config_drives(iter(drives))]
        self.assertEqual(["/dev/sr0", "/dev/vda2"], found)
