# SPDX-License-Identifier: Apache-2.0
"""The guest of 512 bytes, run by QEMU if it is installed."""

import shutil
import subprocess
import time
import unittest
from pathlib import Path

import fixtures
from oslotest import base

from benchmarks.cloud import guest

QEMU = "qemu-system-x86_64"
SECONDS = 120


class BootSectorTest(base.BaseTestCase):
    def test_sector_is_bootable_and_has_its_text(self) -> None:
        sector = guest.boot_sector("BENCH rescue")
        self.assertEqual(512, len(sector))
        self.assertEqual(b"\x55\xaa", sector[-2:])
        self.assertIn(b"BENCH rescue\r\n\0", sector)
        # The address that is printed from is where the text is.
        start = sector.index(b"\xbe") + 1
        address = int.from_bytes(sector[start : start + 2], "little") - 0x7C00
        self.assertEqual(b"BENCH", sector[address : address + 5])

    def test_button_is_enabled_before_anybody_can_press_it(self) -> None:
        sector = guest.boot_sector("BENCH rescue")
        enabled = sector.index(b"\xba\x02\x06\xb8\x00\x01\xef")
        self.assertLess(enabled, sector.index(b"\xac"))  # the first byte of printing

    @unittest.skipUnless(shutil.which(QEMU), "QEMU is not installed")
    def test_guest_boots_and_reacts_to_its_power_button(self) -> None:
        folder = self.useFixture(fixtures.TempDir()).path
        disk, console = Path(folder, "disk.raw"), Path(folder, "console")
        disk.write_bytes(guest.boot_sector("BENCH rescue").ljust(1024**2, b"\0"))
        command = [QEMU, "-display", "none", "-nic", "none", "-accel", "tcg"]
        command += ["-m", "64", "-serial", f"file:{console}", "-monitor", "stdio"]
        process = subprocess.Popen(
            [*command, "-drive", f"file={disk},format=raw,if=virtio"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        while not console.exists() or b"BENCH" not in console.read_bytes():
            self.assertIsNone(process.poll())
            time.sleep(0.05)
        assert process.stdin
        process.stdin.write(b"system_powerdown\n")
        process.stdin.flush()
        self.assertEqual(0, process.wait(SECONDS))
