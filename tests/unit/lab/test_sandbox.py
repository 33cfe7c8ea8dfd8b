# SPDX-License-Identifier: Apache-2.0
"""A command in the sandbox can clean up when its caller gets a signal."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from lab.sandbox import REPOSITORY

SECONDS = 60
#: Calls a command as if this process were inside the sandbox.
CALLER = """
import sys
from pathlib import Path
from lab.sandbox import Sandbox, exit_on_signals

class Inside(Sandbox):
    def inside(self):
        return True

exit_on_signals()
sys.exit(Inside(Path(sys.argv[1])).call([sys.executable, "-c", *sys.argv[2:]]))
"""
#: The command; writes its progress to a file.
COMMAND = """
import sys, time
from pathlib import Path

progress = Path(sys.argv[1])
try:
    progress.write_text("running")
    time.sleep(600)
except KeyboardInterrupt:
    time.sleep(0.2)
    progress.write_text("cleaned up")
"""


class CallTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.progress = Path(folder.name, "progress")

    def call(self, signals: str) -> None:
        """Start the caller and wait until the command runs.

        :param signals: env's option that sets what the caller does on signals
        """
        command = [self.folder, COMMAND, str(self.progress)]
        self.caller = subprocess.Popen(
            ["env", signals, sys.executable, "-c", CALLER, *command],
            cwd=REPOSITORY,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.addCleanup(self._end)
        deadline = time.monotonic() + SECONDS
        while not self.progress.exists() or self.progress.read_text() != "running":
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

    def _end(self) -> None:
        if self.caller.poll() is None:
            os.killpg(self.caller.pid, signal.SIGKILL)
            self.caller.wait()

    def end(self, number: signal.Signals, group: bool = False) -> int:
        """Send a signal; return the caller's exit status."""
        (os.killpg if group else os.kill)(self.caller.pid, number)
        return self.caller.wait(SECONDS)

    def test_call_on_sigterm_lets_the_command_clean_up(self) -> None:
        self.call("--default-signal")
        self.assertEqual(143, self.end(signal.SIGTERM))
        self.assertEqual("cleaned up", self.progress.read_text())

    def test_call_in_background_on_sigterm_lets_it_clean_up(self) -> None:
        self.call("--ignore-signal=INT")
        self.assertEqual(143, self.end(signal.SIGTERM))
        self.assertEqual("cleaned up", self.progress.read_text())

    def test_call_on_ctrl_c_lets_the_command_clean_up(self) -> None:
        self.call("--default-signal")
        self.assertEqual(-signal.SIGINT, self.end(signal.SIGINT, group=True))
        self.assertEqual("cleaned up", self.progress.read_text())

    def test_call_under_nohup_ignores_sighup(self) -> None:
        self.call("--ignore-signal=HUP")
        os.kill(self.caller.pid, signal.SIGHUP)
        self.assertEqual(143, self.end(signal.SIGTERM))
        self.assertEqual("cleaned up", self.progress.read_text())
