# SPDX-License-Identifier: Apache-2.0
"""The config drive of a rescue has the password that the API returns (U3)."""

import json
from pathlib import Path

from lxml import etree

from stable_rescue.domain import document
from stable_rescue.domain.document import Domain
from tests.functional import images

DATA = b"rescue" * 200_000
ORIGINAL_DRIVE = b"the server's config drive"


class ConfigDriveTestBase(images.ImagesTestBase):
    def setUp(self) -> None:
        super().setUp()
        self.rescue_drive = self.folder(self.server) / "disk.config.rescue"

    def rescue_with_password(self) -> str:
        """Rescue the server; return the password that the API returns."""
        password = self.rescue(self.server, self.add_image(DATA))["adminPass"]
        self._wait_for_state_change(self.server, "RESCUE")
        return str(password)

    def assert_rescue_drive(self, password: str) -> None:
        """Assert that the rescue's drive has the password and is private."""
        self.assertEqual(password, self.password_on(self.rescue_drive))
        self.assertEqual(0o600, self.rescue_drive.stat().st_mode & 0o777)

    def password_on(self, drive: Path) -> str:
        """Return the password on a config drive, as cloud-init reads it."""
        path = "/openstack/latest/meta_data.json"
        text = self.run_tool("isoinfo", "-R", "-i", drive, "-x", path)
        return str(json.loads(text)["admin_pass"])

    def rescue_disks(self) -> list[etree._Element]:
        return list(self.recorded_rescue().disks())

    def file_name(self, disk: etree._Element) -> str:
        return str(Path(disk.find("source").get("file")).name)


class ServerWithDriveTest(ConfigDriveTestBase):
    has_config_drive = True

    def setUp(self) -> None:
        super().setUp()
        self.original_drive = self.folder(self.server) / "disk.config"
        self.original_drive.write_bytes(ORIGINAL_DRIVE)
        self.note_original()

    def target_of(self, name: str, definition: str) -> tuple[str, str]:
        """Return the target of the disk whose file has a name."""
        (disk,) = [
            disk
            for disk in Domain.parse(definition).disks()
            if self.file_name(disk) == name
        ]
        return document.target_of(disk)

    def test_config_drive_is_replaced_in_its_slot(self) -> None:
        password = self.rescue_with_password()
        self.assert_rescue_drive(password)
        self.assertEqual(
            self.target_of("disk.config", self.original),
            self.target_of("disk.config.rescue", self.definition(self.server)),
        )
        self.assertEqual(ORIGINAL_DRIVE, self.original_drive.read_bytes())
        disk_info = (self.folder(self.server) / "disk.info").read_text()
        self.assertNotIn(password, disk_info)

    def test_original_config_drive_is_back_after_unrescue(self) -> None:
        self.rescue_with_password()
        self.unrescue_server()
        self.assertEqual(self.original, self.definition(self.server))
        self.assertFalse(self.rescue_drive.exists())
        self.assertEqual(ORIGINAL_DRIVE, self.original_drive.read_bytes())

    def test_always_adds_no_second_config_drive(self) -> None:
        self.flags(config_drive="always", group="stable_rescue")
        self.assert_rescue_drive(self.rescue_with_password())
        names = [self.file_name(disk) for disk in self.rescue_disks()]
        self.assertEqual(["disk", "disk.config.rescue", "disk.rescue"], names)


class ServerWithoutDriveTest(ConfigDriveTestBase):
    def test_keep_adds_no_config_drive(self) -> None:
        self.rescue_with_password()
        self.assertFalse(self.rescue_drive.exists())
        names = [self.file_name(disk) for disk in self.rescue_disks()]
        self.assertEqual(["disk", "disk.rescue"], names)

    def test_keep_adds_none_if_nova_forces_config_drives(self) -> None:
        """U22: a rescue makes no files that it does not use."""
        self.flags(force_config_drive=True)
        self.test_keep_adds_no_config_drive()

    def test_always_adds_a_config_drive_until_unrescue(self) -> None:
        self.flags(config_drive="always", group="stable_rescue")
        config_drive_before = self.instance().config_drive
        self.assert_rescue_drive(self.rescue_with_password())
        root, drive, rescue = self.rescue_disks()
        self.assertEqual("disk", self.file_name(root))
        self.assertEqual("disk.config.rescue", self.file_name(drive))
        self.assertEqual("cdrom", drive.get("device"))
        self.assertIsNone(drive.find("boot"))
        self.assertEqual("1", rescue.find("boot").get("order"))
        self.unrescue_server()
        self.assertFalse(self.rescue_drive.exists())
        self.assertEqual(self.original, self.definition(self.server))
        self.assertEqual(config_drive_before, self.instance().config_drive)
