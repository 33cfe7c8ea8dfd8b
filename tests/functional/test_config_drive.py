# SPDX-License-Identifier: Apache-2.0
"""The config drive that a rescue system finds its password on (UPSTREAM U3)."""

import json
from pathlib import Path

from lxml import etree

from stable_rescue.domain import document
from stable_rescue.domain.document import Domain
from stable_rescue.storage.record import Store
from tests.functional import images

DATA = b"rescue" * 200_000
OWN = b"the server's own config drive"


class ConfigDriveTestBase(images.ImagesTestBase):
    has_config_drive = False

    def setUp(self) -> None:
        super().setUp()
        self.drive = self.folder(self.server) / "disk.config.rescue"

    def rescued_with_password(self) -> str:
        """Rescue the server; return the password that the API tells."""
        told = self.rescue(self.server, self.add_image(DATA))["adminPass"]
        self._wait_for_state_change(self.server, "RESCUE")
        return str(told)

    def password_on(self, drive: Path) -> str:
        """Return the password on a config drive, as cloud-init would read it."""
        path = "/openstack/latest/meta_data.json"
        text = self.run_tool("isoinfo", "-R", "-i", drive, "-x", path)
        return str(json.loads(text)["admin_pass"])

    def disks(self) -> list[etree._Element]:
        """Return the disks of what libvirt was given: Nova's fixture forgets."""
        record = Store(str(self.folder(self.server))).load()
        return list(Domain.parse(record.after).disks())

    def read_by(self, disk: etree._Element) -> str:
        return str(Path(disk.find("source").get("file")).name)


class OwnTest(ConfigDriveTestBase):
    has_config_drive = True

    def setUp(self) -> None:
        super().setUp()
        self.own_drive = own_drive = self.folder(self.server) / "disk.config"
        own_drive.write_bytes(OWN)
        self.note_original()

    def target_of(self, name: str, definition: str) -> tuple[str, str]:
        (found,) = [
            disk
            for disk in Domain.parse(definition).disks()
            if self.read_by(disk) == name
        ]
        return document.target_of(found)

    def test_made_anew_in_its_slot(self) -> None:
        told = self.rescued_with_password()
        self.assertEqual(told, self.password_on(self.drive))
        self.assertEqual(0o600, self.drive.stat().st_mode & 0o777)
        self.assertEqual(
            self.target_of("disk.config", self.original),
            self.target_of("disk.config.rescue", self.definition(self.server)),
        )
        self.assertEqual(OWN, self.own_drive.read_bytes())
        self.assertNotIn(told, (self.folder(self.server) / "disk.info").read_text())

    def test_the_original_comes_back(self) -> None:
        self.rescued_with_password()
        self.unrescue_server()
        self.assertEqual(self.original, self.definition(self.server))
        self.assertFalse(self.drive.exists())
        self.assertEqual(OWN, self.own_drive.read_bytes())

    def test_always_adds_no_second_one(self) -> None:
        self.flags(config_drive="always", group="stable_rescue")
        told = self.rescued_with_password()
        self.assertEqual(told, self.password_on(self.drive))
        names = [self.read_by(disk) for disk in self.disks()]
        self.assertEqual(["disk", "disk.config.rescue", "disk.rescue"], names)


class NoneTest(ConfigDriveTestBase):
    def test_keep_makes_none(self) -> None:
        self.rescued_with_password()
        self.assertFalse(self.drive.exists())
        self.assertEqual(
            ["disk", "disk.rescue"], [self.read_by(disk) for disk in self.disks()]
        )

    def test_keep_makes_none_where_nova_would_for_a_new_server(self) -> None:
        """U22: nothing is created that the rescue does not use."""
        self.flags(force_config_drive=True)
        self.test_keep_makes_none()

    def test_always_adds_one(self) -> None:
        self.flags(config_drive="always", group="stable_rescue")
        before, was = self.definition(self.server), self.instance().config_drive
        told = self.rescued_with_password()
        self.assertEqual(told, self.password_on(self.drive))
        self.assertEqual(0o600, self.drive.stat().st_mode & 0o777)
        own, drive, rescue = self.disks()
        self.assertEqual("disk.config.rescue", self.read_by(drive))
        self.assertEqual("cdrom", drive.get("device"))
        self.assertIsNone(drive.find("boot"))
        self.assertEqual("1", rescue.find("boot").get("order"))
        self.unrescue_server()
        self.assertFalse(self.drive.exists())
        self.assertEqual(before, self.definition(self.server))
        self.assertEqual(was, self.instance().config_drive)
        self.assertEqual("disk", self.read_by(own))
