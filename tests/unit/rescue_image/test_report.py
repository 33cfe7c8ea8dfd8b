# SPDX-License-Identifier: Apache-2.0
"""What rescue-report finds on a mounted server."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import fixtures
from oslotest import base
from rescue_tools import boot, disks, journal, report
from rescue_tools.findings import Finding, Grade, problem

from tests.unit.rescue_image.fakes import FakeCommands, device, write

KERNEL = "6.1.0-31-amd64"
WHOLE = {
    "etc/fstab": "UUID=ROOT / ext4 defaults\n",
    f"boot/vmlinuz-{KERNEL}": "kernel",
    f"boot/initrd.img-{KERNEL}": "initramfs",
    f"usr/lib/modules/{KERNEL}/modules.dep": "",
    "boot/grub/grub.cfg": f"menuentry {{\n\tlinux\t/boot/vmlinuz-{KERNEL} ro\n}}\n",
    "etc/shadow": "root:$y$x:1::::::\n",
    "etc/passwd": "root:x:0:0::/root:/bin/bash\n",
}


def texts(findings: Iterable[Finding], grade: Grade = Grade.PROBLEM) -> list[str]:
    return [finding.text for finding in findings if finding.grade is grade]


class ReportTestCase(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.root = Path(self.useFixture(fixtures.TempDir()).path)
        write(self.root, WHOLE)
        self.commands = FakeCommands(
            device(
                "/dev/vda",
                "disk",
                children=[device("/dev/vda1", fstype="ext4", uuid="ROOT")],
            )
        )
        self.disks = disks.read(self.commands, self.root)

    def fstab(self, text: str) -> list[Finding]:
        write(self.root, {"etc/fstab": text})
        return list(report.fstab_findings(self.root, self.disks, None))

    def test_whole_server_has_no_problem(self) -> None:
        findings = [
            *report.fstab_findings(self.root, self.disks, None),
            *boot.kernels(self.root),
            *boot.loader(self.root, None, is_uefi=False),
            *report.login_findings(self.root),
        ]
        self.assertEqual({Grade.OK}, {finding.grade for finding in findings})
        self.assertEqual(4, len(findings))

    def test_fstab_entry_without_device_is_a_problem(self) -> None:
        (finding,) = self.fstab("UUID=GONE /data ext4 defaults\n")
        self.assertEqual(Grade.PROBLEM, finding.grade)
        self.assertIn("UUID=GONE for /data", finding.text)
        self.assertIn("/dev/vda1 (UUID=ROOT)", finding.hint)

    def test_fstab_entry_that_may_fail_is_a_note(self) -> None:
        (finding,) = self.fstab("UUID=GONE /data ext4 nofail\n")
        self.assertEqual(Grade.NOTE, finding.grade)

    def test_fstab_entry_of_another_type_is_a_problem(self) -> None:
        (finding,) = self.fstab("UUID=ROOT / xfs defaults\n")
        self.assertIn("/dev/vda1 holds ext4, not xfs", finding.text)

    def test_fstab_entry_without_folder_is_a_note(self) -> None:
        (finding,) = self.fstab("UUID=ROOT /data ext4 defaults\n")
        self.assertIn("the folder /data does not exist", finding.text)

    def test_empty_fstab_is_a_note(self) -> None:
        (finding,) = self.fstab("")
        self.assertEqual(Grade.NOTE, finding.grade)

    def test_kernel_without_initramfs_is_a_problem(self) -> None:
        (self.root / f"boot/initrd.img-{KERNEL}").unlink()
        (finding,) = boot.kernels(self.root)
        self.assertIn("has no initramfs", finding.text)
        self.assertIn(f"update-initramfs -c -k {KERNEL}", finding.hint)

    def test_empty_initramfs_and_missing_modules_are_problems(self) -> None:
        write(self.root, {f"boot/initrd.img-{KERNEL}": ""})
        (self.root / f"usr/lib/modules/{KERNEL}/modules.dep").unlink()
        (self.root / f"usr/lib/modules/{KERNEL}").rmdir()
        found = texts(boot.kernels(self.root))
        self.assertEqual(
            [
                f"kernel {KERNEL} has no modules in /lib/modules",
                f"initramfs initrd.img-{KERNEL} is an empty file",
            ],
            found,
        )

    def test_missing_kernel_is_a_problem(self) -> None:
        (self.root / f"boot/vmlinuz-{KERNEL}").unlink()
        self.assertEqual(
            ["/boot has no kernel (vmlinuz-*)"], texts(boot.kernels(self.root))
        )
        self.assertEqual(
            [f"/boot/grub/grub.cfg names vmlinuz-{KERNEL}, which is not in /boot"],
            texts(boot.loader(self.root, None, is_uefi=False)),
        )

    def test_missing_grub_configuration_is_a_problem(self) -> None:
        (self.root / "boot/grub/grub.cfg").unlink()
        (text,) = texts(boot.loader(self.root, None, is_uefi=False))
        self.assertIn("no configuration of a boot loader", text)

    def test_boot_sector_is_read(self) -> None:
        disk = self.root / "disk"
        found = []
        for content in (b"\0" * 512, b"x" * 512, b"\xeb\x63GRUB".ljust(512)):
            disk.write_bytes(content)
            one = disks.Device(str(disk), "disk", "disk", 512)
            *_, finding = boot.loader(self.root, one, is_uefi=False)
            found.append(finding.grade)
        self.assertEqual([Grade.PROBLEM, Grade.NOTE, Grade.OK], found)

    def test_empty_efi_partition_is_a_problem(self) -> None:
        (text,) = texts(boot.loader(self.root, None, is_uefi=True))
        self.assertIn("is missing on the root disk", text)
        write(self.root, {"boot/efi/EFI/debian/grubx64.efi": ""})
        findings = list(boot.loader(self.root, None, is_uefi=True))
        self.assertEqual([], texts(findings))
        self.assertIn("BOOTX64.EFI is missing", texts(findings, Grade.NOTE)[0])

    def test_full_file_systems_are_problems(self) -> None:
        usage = SimpleNamespace(
            f_blocks=100, f_bavail=4, f_frsize=4096, f_files=100, f_favail=50
        )
        with mock.patch.object(os, "statvfs", return_value=usage):
            (finding,) = report.full_findings([self.root / "var"], self.root)
        self.assertEqual(
            "the file system of /var is full (96 % used, 16K free)", finding.text
        )

    def test_ext4_errors_are_problems(self) -> None:
        state = "Filesystem state:         clean with errors\n"
        self.commands.outputs["dumpe2fs", "/dev/vda1"] = state
        (finding,) = report.state_findings(self.disks, self.commands)
        self.assertIn("fsck.ext4 -f /dev/vda1", finding.hint)

    def test_no_login_is_a_problem(self) -> None:
        write(self.root, {"etc/shadow": "root:!:1::::::\n"})
        (finding,) = report.login_findings(self.root)
        self.assertIn("passwd root", finding.hint)
        write(self.root, {"root/.ssh/authorized_keys": "ssh-ed25519 AAAA\n"})
        (finding,) = report.login_findings(self.root)
        self.assertEqual(Grade.OK, finding.grade)

    def test_mounted_points_are_those_of_the_server(self) -> None:
        mounts = (
            "/dev/sda3 / overlay rw 0 0\n/dev/vda1 /mnt/server ext4 rw 0 0\n"
            "/dev/vda2 /mnt/server/boot ext4 rw 0 0\n"
            "/dev/loop0 /mnt/server/run/rescue/system squashfs ro 0 0\n"
            "tmpfs /mnt/server/tmp tmpfs rw 0 0\n"
        )
        with mock.patch.object(report, "stat_is_block", return_value=True):
            points = report.mounted_points(Path("/mnt/server"), mounts)
        self.assertEqual(
            [
                (Path("/mnt/server"), "/dev/vda1"),
                (Path("/mnt/server/boot"), "/dev/vda2"),
            ],
            points,
        )

    def test_missing_journal_is_a_note(self) -> None:
        (finding,) = journal.last_boot(self.root, self.commands)
        self.assertIn("openstack console log show", finding.hint)

    def test_failed_units_of_the_last_boot_are_a_problem(self) -> None:
        write(self.root, {"var/log/journal/1/system.journal": ""})
        boots = json.dumps([{"boot_id": "old"}, {"boot_id": "last"}])
        failed = "Dependency failed for /data.\n" * 2
        self.commands.outputs |= {
            ("journalctl", "--list-boots"): boots,
            ("journalctl", "MESSAGE_ID=be02cf6855d2428ba40df7e9d022f03d"): failed,
            ("journalctl", "--priority=err"): "x systemd[1]: Timed out\n",
            ("journalctl", "--lines=+1"): "2026-11-28T10:00:00+00:00 x kernel: Linux\n",
        }
        first, second, third = journal.last_boot(self.root, self.commands)
        self.assertIn("last boot of 2026-11-28T10:00:00+00:00, units", first.text)
        self.assertEqual("Dependency failed for /data.", first.hint)
        self.assertIn("was not completed", second.text)
        self.assertEqual(Grade.NOTE, third.grade)

    def test_complete_last_boot_is_no_problem(self) -> None:
        write(self.root, {"var/log/journal/1/system.journal": ""})
        self.commands.outputs |= {
            ("journalctl", "--list-boots"): '[{"boot_id": "1"}]',
            ("journalctl", "MESSAGE_ID=b07a249cd024414a82dd00cd181378ff"): "Started\n",
        }
        (finding,) = journal.last_boot(self.root, self.commands)
        self.assertEqual(Grade.OK, finding.grade)

    def test_hint_is_printed_below_its_finding(self) -> None:
        self.assertEqual(
            "PROBLEM  broken\n           one\n           two",
            str(problem("broken", "one\ntwo")),
        )
