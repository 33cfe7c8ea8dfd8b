# SPDX-License-Identifier: Apache-2.0
"""Several volumes are connected at once through os-brick's ISCSIConnector (U28)."""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from lab import loops
from lab.sandbox import REPOSITORY

# A scenario takes a few seconds; this is for busy machines.
SCENARIO_SECONDS = 600


class IscsiTest(unittest.TestCase):
    def run_scenario(self, scenario: str) -> None:
        """Run a scenario in a new mount namespace."""
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            try:
                process = subprocess.run(
                    [
                        *("unshare", "--mount", "--propagation", "private"),
                        *("timeout", "--kill-after=5", str(SCENARIO_SECONDS)),
                        *(sys.executable, "-m", "tests.integration.iscsi.scenarios"),
                        scenario,
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
        self.assertEqual(0, process.returncode, process.stdout[-4000:])
        self.assertEqual([], left)

    def test_volumes_are_connected_used_and_disconnected(self) -> None:
        self.run_scenario("several")

    def test_failed_volume_disconnects_the_newly_connected(self) -> None:
        self.run_scenario("one_fails")
