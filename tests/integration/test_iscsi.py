# SPDX-License-Identifier: Apache-2.0
"""Several volumes at once through os-brick's own ISCSIConnector, and their undoing."""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from lab import loops
from lab.sandbox import REPOSITORY

# For busy machines; it takes a few seconds.
SCENE_SECONDS = 240


class IscsiTest(unittest.TestCase):
    def play(self, scene: str) -> None:
        """Play a scene in a mount namespace of its own."""
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            try:
                played = subprocess.run(
                    [
                        *("unshare", "--mount", "--propagation", "private"),
                        *("timeout", "--kill-after=5", str(SCENE_SECONDS)),
                        *(sys.executable, "-m", "tests.integration.iscsi.scenes"),
                        scene,
                    ],
                    check=False,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    cwd=REPOSITORY,
                    env={**os.environ, "TMPDIR": folder},
                    text=True,
                )
            finally:
                left = loops.detach(Path(folder))
        self.assertEqual(0, played.returncode, played.stdout[-4000:])
        self.assertEqual([], left)

    def test_several_volumes_are_connected_used_and_disconnected(self) -> None:
        self.play("several")

    def test_one_that_fails_has_the_others_undone(self) -> None:
        self.play("one_fails")
