# SPDX-License-Identifier: Apache-2.0
"""A lab detaches its own loop devices and no other's."""

import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from lab import loops


class BackedByTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.state = Path(folder.name).resolve()

    def backed_by(self, *files: str) -> list[str]:
        rows = [f"/dev/loop{number} {file}" for number, file in enumerate(files)]
        listing = subprocess.CompletedProcess([], 0, "\n".join(rows), "")
        with mock.patch.object(subprocess, "run", return_value=listing):
            return loops.backed_by(self.state)

    def test_devices_of_existing_and_deleted_files_are_listed(self) -> None:
        devices = self.backed_by(
            f"{self.state}/data/a.raw", f"{self.state}/data/b.raw (deleted)"
        )
        self.assertEqual(["/dev/loop0", "/dev/loop1"], devices)

    def test_device_of_a_folder_with_the_same_prefix_is_not_listed(self) -> None:
        self.assertEqual([], self.backed_by(f"{self.state}-2/data/a.raw", "/x"))

    def test_device_of_a_file_with_a_blank_is_listed(self) -> None:
        file = f"{self.state}/my\\x20disk"
        self.assertEqual(["/dev/loop0"], self.backed_by(file))

    def test_device_of_a_sandbox_inside_is_not_listed(self) -> None:
        inner = self.state / "integration"
        inner.mkdir()
        files = (f"{inner}/a.raw", f"{self.state}/b.raw")
        self.assertEqual(["/dev/loop0", "/dev/loop1"], self.backed_by(*files))
        (inner / "sandbox.pid").touch()
        self.assertEqual(["/dev/loop1"], self.backed_by(*files))
