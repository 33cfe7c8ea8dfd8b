# SPDX-License-Identifier: Apache-2.0
"""The rights of Ceph's user, and the hook that refuses to start a domain."""

from __future__ import annotations

import subprocess
import tempfile
import unittest
from pathlib import Path

from lab.config import Lab
from lab.services import ceph, libvirtd


class CephUserTest(unittest.TestCase):
    """The lab also works if the user has more rights than a deployer would give."""

    def test_ceph_user_may_use_the_pools_and_nothing_else(self) -> None:
        _entity, capabilities = ceph.KEYS[ceph.USER_KEYRING]
        self.assertNotIn("allow", " ".join(capabilities.values()))
        for pool in ceph.POOLS:
            self.assertIn(f"pool={pool}", capabilities["osd"])


class LibvirtHookTest(unittest.TestCase):
    """The script is run in the same way as libvirtd runs it."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = libvirtd.refused_starts(Lab(Path(folder.name)))

    def refuses(self, definition: str, step: str = "prepare") -> bool:
        hook = libvirtd.HOOK.format(file=self.file)
        completed = subprocess.run(
            ["sh", "-c", hook, "qemu", "instance-1", step, "begin", "-"],
            input=definition,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(bool(completed.returncode), bool(completed.stderr), completed)
        return bool(completed.returncode)

    def test_hook_refuses_definitions_with_the_text_of_the_file(self) -> None:
        self.file.write_text("disk.rescue\n")
        self.assertTrue(self.refuses("<disk>\n<source file='/x/disk.rescue'/></disk>"))
        self.assertFalse(self.refuses("<disk><source file='/x/disk'/></disk>"))
        self.assertFalse(self.refuses("disk.rescue", step="stopped"))

    def test_hook_without_file_or_text_refuses_nothing(self) -> None:
        self.assertFalse(self.refuses("disk.rescue"))
        self.file.touch()
        self.assertFalse(self.refuses("disk.rescue"))
