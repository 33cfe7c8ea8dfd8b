# SPDX-License-Identifier: Apache-2.0
"""A pid file counts only for the process that it was written for."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from lab import procfs


class ProcessIdTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = Path(folder.name) / "some.pid"

    def test_process_with_a_reused_pid_is_not_alive(self) -> None:
        identity = procfs.ProcessId.of(os.getpid())
        assert identity is not None
        self.assertTrue(identity.alive())
        earlier = procfs.ProcessId(identity.pid, identity.started - 1, procfs.boot_id())
        self.assertFalse(earlier.alive())

    def test_process_of_an_earlier_boot_is_not_alive(self) -> None:
        identity = procfs.ProcessId.of(os.getpid())
        assert identity is not None
        earlier = procfs.ProcessId(identity.pid, identity.started, "another-boot")
        self.assertFalse(earlier.alive())

    def test_zombie_is_no_process(self) -> None:
        child = subprocess.Popen(["true"])
        self.addCleanup(child.wait)
        # The child is reaped in the cleanup, so its entry in /proc stays until then.
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        self.assertTrue(Path(f"/proc/{child.pid}").exists())
        self.assertIsNone(procfs.ProcessId.of(child.pid))

    def test_pid_file_absent_or_damaged_is_no_process(self) -> None:
        self.assertIsNone(procfs.ProcessId.read(self.file))
        for text in ("", "12", "twelve 3 boot", "1 2 3 4"):
            self.file.write_text(text)
            self.assertIsNone(procfs.ProcessId.read(self.file))

    def test_start_time_of_a_command_with_blanks_and_brackets(self) -> None:
        process = self.file.parent / "7"
        process.mkdir()
        fields = ["S", *("0" for _ in range(18)), "4711", "0"]
        (process / "stat").write_text(f"7 (a) b (c) {' '.join(fields)}\n")
        self.assertEqual(4711, procfs.start_time(7, self.file.parent))

    def test_session_is_that_of_the_process_that_has_begun_it(self) -> None:
        child = subprocess.Popen(["sleep", "60"], start_new_session=True)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        self.assertEqual(child.pid, procfs.session(child.pid))
        self.assertEqual(os.getsid(0), procfs.session(os.getpid()))
        self.assertIsNone(procfs.session(2**22))
