# SPDX-License-Identifier: Apache-2.0
"""What rescue-mount mounts, and what rescue-umount takes back."""

import io
import json
import os
from pathlib import Path
from typing import Any
from unittest import mock

import fixtures
from oslotest import base
from rescue_tools import RescueError, mount
from rescue_tools.mount import Mounter

from tests.unit.rescue_image.fakes import FakeCommands, device, write

FSTAB = """\
UUID=ROOT / ext4 defaults
UUID=BOOT /boot xfs defaults
UUID=GONE /data ext4 defaults
UUID=SWAP none swap sw
UUID=BOOT /link ext4 defaults
nas:/x /nas nfs defaults
UUID=BOOT /later ext4 noauto
"""


class MountTestCase(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.output = io.StringIO()
        self.useFixture(fixtures.MonkeyPatch("sys.stdout", self.output))
        self.folder = Path(self.useFixture(fixtures.TempDir()).path)
        self.target = self.folder / "target"
        self.root = write(self.folder / "root", {"etc/fstab": FSTAB})
        for name in ("boot", "data", "dev", "proc", "sys", "run"):
            (self.root / name).mkdir()
        (self.root / "link").symlink_to("/")

    def commands(self, *parts: dict[str, Any]) -> FakeCommands:
        return FakeCommands(device("/dev/vda", "disk", children=list(parts)))

    def plain(self) -> FakeCommands:
        commands = self.commands(
            device("/dev/vda1", fstype="ext4", uuid="ROOT"),
            device("/dev/vda2", fstype="xfs", uuid="BOOT"),
        )
        commands.contents["/dev/vda1"] = self.root
        return commands

    def mount(
        self, commands: FakeCommands, name: str | None = None, read_only: bool = False
    ) -> list[str]:
        """Mount a server; return the commands without those that look for the root."""
        Mounter(commands, self.target, read_only).mount(name)
        lines = [line.replace(str(self.target), "T") for line in commands.ran]
        ends = [index for index, line in enumerate(lines) if line == "umount T"]
        return lines[ends[-1] + 1 :] if ends else lines

    def test_root_is_mounted_with_what_its_fstab_names(self) -> None:
        lines = self.mount(self.plain())
        self.assertEqual(
            [
                "mount --make-private -o rw /dev/vda1 T",
                "mount -o rw,nouuid /dev/vda2 T/boot",
            ],
            lines[:2],
        )
        self.assertEqual(
            [
                line
                for name in ("dev", "proc", "sys", "run")
                for line in (
                    f"mount --rbind /{name} T/{name}",
                    f"mount --make-rslave T/{name}",
                )
            ],
            lines[2:],
        )

    def test_what_is_not_mounted_is_reported(self) -> None:
        self.mount(self.plain())
        self.assertEqual(
            [
                "! /data stays out: no device is UUID=GONE",
                "! /link stays out: the server has no such folder",
            ],
            self.output.getvalue().splitlines(),
        )

    def test_read_only_replays_no_journal_and_binds_nothing(self) -> None:
        lines = self.mount(self.plain(), read_only=True)
        self.assertEqual(
            [
                "mount --make-private -o ro,noload /dev/vda1 T",
                "mount -o ro,norecovery,nouuid /dev/vda2 T/boot",
            ],
            lines,
        )

    def test_search_of_the_root_writes_nothing(self) -> None:
        commands = self.plain()
        self.mount(commands)
        looks = commands.ran[
            : commands.ran.index(f"mount --make-private -o rw /dev/vda1 {self.target}")
        ]
        mounts = [line.split()[2] for line in looks if line.startswith("mount ")]
        self.assertEqual(2, len(mounts))
        for options in mounts:
            self.assertIn("ro", options.split(","))
            self.assertTrue({"noload", "norecovery"} & set(options.split(",")))

    def test_volume_groups_are_activated_first(self) -> None:
        commands = self.plain()
        report = {"report": [{"lv": [{"vg_name": "vg0", "lv_name": "root"}]}]}
        commands.outputs["lvs", "json"] = json.dumps(report)
        self.mount(commands)
        self.assertEqual("vgchange --activate y vg0", commands.ran[0])

    def test_luks_is_opened_only_if_no_root_is_found(self) -> None:
        locked = device("/dev/vda1", fstype="crypto_LUKS")
        commands = self.commands(locked)
        opened = device("/dev/mapper/rescue-vda1", "crypt", fstype="ext4")

        class Unlocked(FakeCommands):
            def run(self, *words: str) -> None:
                super().run(*words)
                if words[0] == "cryptsetup":
                    self.disks[0]["children"][0]["children"] = [opened]

        commands = Unlocked(*commands.disks)
        commands.contents["/dev/mapper/rescue-vda1"] = self.root
        lines = self.mount(commands)
        self.assertEqual("cryptsetup open /dev/vda1 rescue-vda1", commands.ran[0])
        self.assertEqual(
            "mount --make-private -o rw /dev/mapper/rescue-vda1 T", lines[0]
        )

    def test_subvolume_of_btrfs_is_found(self) -> None:
        commands = self.commands(device("/dev/vda1", fstype="btrfs", uuid="B"))
        text = "UUID=B / btrfs subvol=@\nUUID=B /home btrfs subvol=@home\n"
        top = write(self.folder / "top", {"@/etc/fstab": text})
        commands.contents["/dev/vda1"] = top

        class Subvolumes(FakeCommands):
            def run(self, *words: str) -> None:
                is_root = words[0] == "mount" and "subvol=@" in words[-3].split(",")
                self.contents["/dev/vda1"] = top / "@" if is_root else top
                super().run(*words)

        (top / "@/home").mkdir()
        subvolumes = Subvolumes(*commands.disks)
        lines = self.mount(subvolumes)
        self.assertEqual(
            [
                "mount --make-private -o rw,subvol=@ /dev/vda1 T",
                "mount -o rw,subvol=@home /dev/vda1 T/home",
            ],
            lines[:2],
        )

    def test_two_roots_are_refused_with_their_names(self) -> None:
        commands = self.commands(
            device("/dev/vda1", fstype="ext4"), device("/dev/vda2", fstype="ext4")
        )
        commands.contents |= {"/dev/vda1": self.root, "/dev/vda2": self.root}
        error = self.assertRaises(RescueError, self.mount, commands)
        self.assertIn("name one of /dev/vda1, /dev/vda2", str(error))
        lines = self.mount(commands, "/dev/vda2")
        self.assertEqual("mount --make-private -o rw /dev/vda2 T", lines[0])

    def test_no_root_is_refused_with_what_to_do(self) -> None:
        commands = self.commands(device("/dev/vda1", fstype="ext4"))
        error = self.assertRaises(RescueError, self.mount, commands)
        self.assertIn("rescue-mount DEVICE", str(error))

    def test_unknown_device_is_refused(self) -> None:
        error = self.assertRaises(RescueError, self.mount, self.plain(), "/dev/vdz")
        self.assertIn("no device /dev/vdz", str(error))

    def test_target_in_use_is_refused(self) -> None:
        commands = self.plain()
        with mock.patch.object(os.path, "ismount", return_value=True):
            error = self.assertRaises(RescueError, self.mount, commands)
        self.assertIn("run rescue-umount first", str(error))
        self.assertEqual([], commands.ran)

    def test_second_file_system_that_fails_does_not_stop_the_rest(self) -> None:
        commands = self.plain()
        commands.broken.add(f"mount -o rw,nouuid /dev/vda2 {self.target}/boot")
        self.assertIn("mount --rbind /dev T/dev", self.mount(commands))

    def test_unmount_closes_what_is_on_and_below_volumes(self) -> None:
        lower = device(
            "/dev/mapper/rescue-vda1", "crypt", fstype="LVM2_member", uuid="L"
        )
        upper = device("/dev/mapper/rescue-dm-1", "crypt", fstype="ext4")
        other = device("/dev/mapper/data", "crypt", fstype="ext4")
        commands = self.commands(lower, upper, other)
        report = {"report": [{"lv": [{"vg_name": "vg0", "lv_name": "root"}]}]}
        commands.outputs["lvs", "json"] = json.dumps(report)
        with mock.patch.object(os.path, "ismount", return_value=True):
            mount.unmount(commands, self.target)
        first, *rest = commands.ran
        self.assertEqual(f"umount --recursive {self.target}", first)
        self.assertEqual("cryptsetup close rescue-dm-1", rest[0])
        self.assertEqual("vgchange --activate n vg0", rest[1])
        self.assertIn("cryptsetup close rescue-vda1", rest[2:])
        self.assertNotIn("cryptsetup close data", rest)
        self.assertEqual("sync", rest[-1])

    def test_unmount_names_what_stays_active(self) -> None:
        opened = device("/dev/mapper/rescue-vda1", "crypt", fstype="ext4")
        commands = self.commands(opened)
        commands.broken.add("cryptsetup close rescue-vda1")
        report = {"report": [{"lv": [{"vg_name": "vg0", "lv_name": "root"}]}]}
        commands.outputs["lvs", "json"] = json.dumps(report)
        commands.broken.add("vgchange --activate n vg0")
        with mock.patch.object(os.path, "ismount", return_value=True):
            error = self.assertRaises(RescueError, mount.unmount, commands, self.target)
        self.assertIn("in use: vg0, rescue-vda1", str(error))
        self.assertEqual("sync", commands.ran[-1])

    def test_unmount_of_a_server_in_use_says_who_uses_it(self) -> None:
        commands = self.plain()
        commands.broken.add(f"umount --recursive {self.target}")
        with mock.patch.object(os.path, "ismount", return_value=True):
            error = self.assertRaises(RescueError, mount.unmount, commands, self.target)
        self.assertIn(f"fuser -vm {self.target}", str(error))
        self.assertEqual(1, len(commands.ran))
