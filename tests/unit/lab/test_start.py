# SPDX-License-Identifier: Apache-2.0
"""The scene that measures the start of nova-compute."""

import subprocess
import sys
import tempfile
from pathlib import Path

from oslotest import base

from lab.demo.scenes import start


class StartTest(base.BaseTestCase):
    def test_hidden_package_cannot_be_found_until_the_end(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            site = Path(folder, "lib", "python3.11", "site-packages")
            names = ("__editable__.stable_rescue-1.pth", "stable_rescue-1.dist-info")
            (site / names[1]).mkdir(parents=True)
            (site / names[0]).touch()
            Path(folder, "lab-complete").touch()
            with start.hidden_package(Path(folder)):
                self.assertEqual([], [*site.glob("*.pth"), *site.glob("*.dist-info")])
                self.assertFalse(Path(folder, "lab-complete").exists())
            self.assertEqual({*names}, {path.name for path in site.iterdir()})
            self.assertTrue(Path(folder, "lab-complete").exists())

    def test_cpu_time_and_memory_of_a_process(self) -> None:
        busy = "import os, sys\nwhile sum(os.times()[:2]) < 0.3: pass\n"
        busy += "print(flush=True)\nsys.stdin.read()"
        with subprocess.Popen(
            [sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdin
            assert process.stdout
            process.stdout.readline()
            seconds, mebibytes = start.used(Path(f"/proc/{process.pid}"))
            process.stdin.close()
        self.assertGreater(seconds, 0.2)
        self.assertLess(seconds, 60)
        self.assertTrue(1 < mebibytes < 1000, mebibytes)

    def test_table_has_median_and_range(self) -> None:
        starts = [start.Start(3, 1, 100), start.Start(1, 2, 100), start.Start(2, 3, 99)]
        _head, line = start.table({"this driver": starts})
        self.assertEqual(
            "this driver 2.0 (1.0 to 3.0) 2.0 (1.0 to 3.0) 100.0 (99.0 to 100.0)",
            " ".join(line.split()),
        )
