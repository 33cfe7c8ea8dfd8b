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

# The scenarios take a few seconds; this is for busy machines.
SECONDS = 600


class IscsiTest(unittest.TestCase):
    def test_volumes_are_connected_and_undone_if_one_fails(self) -> None:
        """The scenarios run in one process, because Nova takes seconds to import."""
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            try:
                process = subprocess.run(
                    [
                        *("unshare", "--mount", "--propagation", "private"),
                        *("timeout", "--kill-after=5", str(SECONDS)),
                        *(sys.executable, "-m", "tests.integration.iscsi.scenarios"),
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
