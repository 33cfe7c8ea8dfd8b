# SPDX-License-Identifier: Apache-2.0
"""tools/rescue-image: its checks, what it writes, and what it uploads."""

import fcntl
import os
import re
import shutil
import struct
from collections import namedtuple
from pathlib import Path
from unittest import mock

import fixtures
from oslotest import base
from rescue_images import ImageError, boot, build, commands, disk, tree, upload

from tests.unit.rescue_image import FILES, ROOT

Usage = namedtuple("Usage", "total used free")


class BuildTestCase(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.useFixture(fixtures.TempDir()).path)
        self.useFixture(fixtures.EnvironmentVariable("PATH", os.environ["PATH"]))
        self.useFixture(fixtures.MonkeyPatch("os.geteuid", lambda: 0))
        self.useFixture(fixtures.MonkeyPatch("shutil.which", lambda name: name))

    def options(self) -> build.Options:
        return build.Options(self.folder, "trixie", "http://mirror/debian")

    def test_build_without_root_is_refused(self) -> None:
        self.useFixture(fixtures.MonkeyPatch("os.geteuid", lambda: 1000))
        error = self.assertRaises(ImageError, build.check_host, self.folder)
        self.assertIn("root is required", str(error))

    def test_missing_packages_are_named(self) -> None:
        installed = {"mksquashfs", "mkfs.vfat", "sfdisk", "qemu-img", "xorriso"}
        names = {name: name for name in (*installed, "unshare")}
        self.useFixture(fixtures.MonkeyPatch("shutil.which", names.get))
        error = self.assertRaises(ImageError, build.check_host, self.folder)
        self.assertIn("apt-get install mmdebstrap mtools", str(error))

    def test_build_without_space_is_refused(self) -> None:
        with mock.patch.object(shutil, "disk_usage", return_value=Usage(9, 9, 2**30)):
            error = self.assertRaises(ImageError, build.check_host, self.folder)
        self.assertIn("1.0 GiB left, and a build needs 3", str(error))

    def test_second_build_in_a_folder_is_refused(self) -> None:
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            error = self.assertRaises(
                ImageError, build.build, self.options(), mock.Mock()
            )
        self.assertIn("another build is running", str(error))

    def test_failed_build_keeps_images_and_removes_its_folder(self) -> None:
        image = self.folder / "rescue.qcow2"
        image.write_text("earlier")
        with mock.patch.object(tree, "make", side_effect=ImageError("no network")):
            self.assertRaises(ImageError, build.build, self.options(), mock.Mock())
        self.assertEqual("earlier", image.read_text())
        self.assertFalse((self.folder / "work").exists())

    def test_reason_of_a_failed_mmdebstrap_comes_first(self) -> None:
        log = self.folder / "log"
        for sign, reason in (
            ("E: Unable to locate package foo", "does not exist"),
            ("Could not resolve 'deb.debian.org'", "cannot be reached"),
            ("No space left on device", "no space left"),
        ):
            log.write_text(sign)
            with mock.patch.object(tree, "run", side_effect=ImageError("status 25")):
                error = self.assertRaises(
                    ImageError,
                    tree.make,
                    *(self.folder / "t", self.folder / "c", log, mock.Mock()),
                    *("trixie", "http://mirror/debian"),
                )
            self.assertIn(reason, str(error).splitlines()[0])
            self.assertIn("status 25", str(error))

    def test_tree_is_made_in_namespaces_that_end_with_it(self) -> None:
        words = tree.command(
            self.folder, self.folder / "cache", "trixie", "http://mirror/debian"
        )
        self.assertEqual("unshare", words[0])
        self.assertLessEqual({"--mount", "--pid", "--kill-child"}, set(words))
        include = next(word for word in words if word.startswith("--include="))
        for package in ("lvm2", "mdadm", "cryptsetup-bin", "testdisk", "cloud-init"):
            self.assertIn(package, include.removeprefix("--include=").split(","))

    def test_command_that_fails_is_reported_with_its_output(self) -> None:
        log = self.folder / "log"
        error = self.assertRaises(
            ImageError, commands.run, log, "sh", "-c", "echo reason; exit 3"
        )
        self.assertIn("status 3", str(error))
        self.assertTrue(str(error).endswith("reason"))

    def test_boot_code_loads_grub_from_its_partition(self) -> None:
        code = boot.boot_code(b"\xeb" * 512, 2048)
        self.assertEqual(440, len(code))
        self.assertEqual((2048,), struct.unpack_from("<Q", code, 0x5C))
        self.assertEqual(b"\x90\x90", code[0x66:0x68])
        image = boot.core_image(b"c" * 1100, 2048)
        self.assertEqual((2049, 2, 0x820), struct.unpack_from("<QHH", image, 0x1F4))

    def test_partitions_follow_one_another(self) -> None:
        identity = boot.new_identity()
        table = disk.partition_table(identity, 5 * 2**20, 6 * 2**20)
        rows = re.findall(r"start=(\d+), size=(\d+), (.*)", table)
        self.assertEqual(
            [("2048", "2048"), ("4096", "10240"), ("14336", "12288")],
            [row[:2] for row in rows],
        )
        self.assertTrue(rows[2][2].endswith(f"uuid={identity.upper()}"))

    def test_identity_is_on_the_command_line_and_is_new(self) -> None:
        first, second = boot.new_identity(), boot.new_identity()
        self.assertNotEqual(first, second)
        made = boot.Boot(*[self.folder] * 3, first, self.folder, "today")
        self.assertIn(f"rescue.identity={first}", made.menu())
        self.assertIn("systemd.gpt_auto=0", made.menu())

    def test_upload_sets_the_properties_of_a_rescue_image(self) -> None:
        path = self.folder / "rescue.qcow2"
        path.touch()
        client = self.folder / "openstack"
        client.write_text(
            f'#!/bin/sh\necho "$@" >{self.folder}/arguments\n'
            'echo \'{"id": "1", "status": "active", "properties":'
            ' {"hw_rescue_bus": "usb", "hw_rescue_device": "disk"}}\'\n'
        )
        client.chmod(0o755)
        text = upload.upload(path, "qcow2", "rescue", str(client))
        arguments = (self.folder / "arguments").read_text()
        for words in (
            "--property=hw_rescue_bus=usb",
            "--property=hw_rescue_device=disk",
            "--disk-format qcow2",
        ):
            self.assertIn(words, arguments)
        self.assertIn("image 1 (rescue) is active", text)
        self.assertIn("hw_rescue_bus=usb", text)
        words = upload.command(path, "iso", "rescue", "openstack")
        self.assertIn("--property=hw_rescue_device=cdrom", words)
        self.assertNotIn("--property=hw_rescue_bus=usb", words)

    def test_upload_that_cannot_be_done_is_reported(self) -> None:
        path = self.folder / "rescue.qcow2"
        error = self.assertRaises(ImageError, upload.upload, path, "qcow2", "rescue")
        self.assertIn("tools/rescue-image build", str(error))
        path.touch()
        missing = str(self.folder / "none")
        error = self.assertRaises(
            ImageError, upload.upload, path, "qcow2", "rescue", missing
        )
        self.assertIn("is not installed", str(error))

    def test_recipe_has_what_its_units_run(self) -> None:
        units = [*FILES.glob("etc/systemd/system/*.service")]
        self.assertEqual(2, len(units))
        customize = (ROOT / "rescue-image/customize").read_text()
        for unit in units:
            self.assertIn(unit.name, customize)
            command = unit.read_text().split("\nExecStart=")[1].split()[0]
            self.assertTrue(os.access(FILES / command.lstrip("/"), os.X_OK), command)

    def test_recipe_masks_what_activates_storage(self) -> None:
        masked = "\n".join(tree.lines_of("masked"))
        for name in (
            "systemd-gpt-auto-generator",
            "69-lvm.rules",
            "64-md-raid-assembly.rules",
            "64-btrfs.rules",
            "systemd-hibernate-resume-generator",
        ):
            self.assertIn(name, masked)
        packages = tree.lines_of("packages")
        for name in ("os-prober", "multipath-tools", "zfsutils-linux", "bcache-tools"):
            self.assertNotIn(name, packages)
