# SPDX-License-Identifier: Apache-2.0
"""What becomes of a command in the sandbox when its caller is asked to end."""

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
#: Runs a command as in a sandbox that this process is in.
CALLER = """
import sys
from pathlib import Path
from lab.sandbox import Sandbox, exit_when_told

class Here(Sandbox):
    def inside(self):
        return True

exit_when_told()
sys.exit(Here(Path(sys.argv[1])).call([sys.executable, "-c", *sys.argv[2:]]))
"""
#: Says in a file how far it has come.
PLAY = """
import sys, time
from pathlib import Path

said = Path(sys.argv[1])
try:
    said.write_text("plays")
    time.sleep(600)
except KeyboardInterrupt:
    time.sleep(0.2)
    said.write_text("cleaned up")
"""


class CallTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.said = Path(folder.name, "said")

    def call(self, signals: str) -> None:
        """Start the caller.

        :param signals: the option of env that says what it does about signals
        """
        play = [sys.executable, "-c", CALLER, self.folder, PLAY, str(self.said)]
        self.caller = subprocess.Popen(
            ["env", signals, *play],
            cwd=REPOSITORY,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.addCleanup(self._end)
        deadline = time.monotonic() + SECONDS
        while not self.said.exists() or self.said.read_text() != "plays":
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

    def _end(self) -> None:
        if self.caller.poll() is None:
            os.killpg(self.caller.pid, signal.SIGKILL)
            self.caller.wait()

    def ended_by(self, number: signal.Signals, group: bool) -> int:
        """Send a signal; return the caller's exit status."""
        (os.killpg if group else os.kill)(self.caller.pid, number)
        return self.caller.wait(SECONDS)

    def test_asked_to_end(self) -> None:
        self.call("--default-signal")
        self.assertEqual(143, self.ended_by(signal.SIGTERM, group=False))
        self.assertEqual("cleaned up", self.said.read_text())

    def test_asked_to_end_in_the_background(self) -> None:
        self.call("--ignore-signal=INT")
        self.assertEqual(143, self.ended_by(signal.SIGTERM, group=False))
        self.assertEqual("cleaned up", self.said.read_text())

    def test_interrupted_by_the_terminal(self) -> None:
        self.call("--default-signal")
        self.assertEqual(-signal.SIGINT, self.ended_by(signal.SIGINT, group=True))
        self.assertEqual("cleaned up", self.said.read_text())

    def test_hung_up_below_nohup(self) -> None:
        self.call("--ignore-signal=HUP")
        os.kill(self.caller.pid, signal.SIGHUP)
        self.assertEqual(143, self.ended_by(signal.SIGTERM, group=False))
        self.assertEqual("cleaned up", self.said.read_text())
