# SPDX-License-Identifier: Apache-2.0
"""The report of tempest's runs, from streams in the format that stestr writes."""

from __future__ import annotations

import datetime
import io
import tempfile
from pathlib import Path
from unittest import mock

import subunit
from oslotest import base

from lab.tempest import report

PLUGIN = "stable_rescue.tempest.tests.test_addresses.ImageBackedTest"
TEMPEST = "tempest.api.compute.servers.test_server_rescue.ServerRescueTestJSON"
USB = f"{PLUGIN}.test_disk_on_usb_moves_no_device[U1,U2,U33,id-1]"
SCSI = f"{PLUGIN}.test_disk_on_scsi_moves_no_device[U1,U2,U32,id-2]"
IDE = f"{PLUGIN}.test_disk_on_ide_moves_no_device[U1,U2,id-3]"
OTHER = f"{TEMPEST}.test_rescue_unrescue_instance[id-4]"
NOON = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
TRACEBACK = (
    b"Traceback (most recent call last):\n  File x\nMismatch: vdb moved\n  to 05\n"
)


class ReportTest(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def run_of(self, machine: str, **tests: tuple[str, str]) -> Path:
        """Return the stream of a run in which each test took five seconds."""
        path = self.folder / f"some-Driver-34.0.0-{machine}" / "results.subunit"
        path.parent.mkdir()
        with path.open("wb") as file:
            stream = subunit.StreamResultToBytes(file)
            for test, status in tests.values():
                stream.status(test_id=test, test_status="exists", timestamp=NOON)
                stream.status(test_id=test, test_status="inprogress", timestamp=NOON)
                if status in ("fail", "skip"):
                    name = "traceback" if status == "fail" else "reason"
                    text = TRACEBACK if status == "fail" else b"[stable_rescue] cases"
                    stream.status(
                        test_id=test,
                        file_name=name,
                        file_bytes=text,
                        mime_type="text/plain;charset=utf8",
                        eof=True,
                        timestamp=NOON,
                    )
                end = NOON + datetime.timedelta(seconds=5)
                stream.status(test_id=test, test_status=status, timestamp=end)
        return path

    def report(self, *paths: Path) -> tuple[int, str]:
        with mock.patch("sys.stdout", new_callable=io.StringIO) as output:
            code = report.main(["Driver", *map(str, paths)])
        return code, output.getvalue()

    def test_report_without_failures_has_counts_for_each_suite(self) -> None:
        path = self.run_of("q35", a=(USB, "success"), b=(OTHER, "success"))
        code, text = self.report(path)
        self.assertEqual(0, code)
        self.assertIn("Driver: 2 passed, 0 failed, 0 skipped", text)
        self.assertIn(
            "q35  stable_rescue  1 passed, 0 failed, 0 skipped in 5 s of tests", text
        )
        self.assertNotIn("FAILED", text)

    def test_report_lists_failures_with_the_faults_they_find(self) -> None:
        path = self.run_of("q35", a=(USB, "fail"), b=(SCSI, "success"))
        code, text = self.report(path)
        self.assertEqual(1, code)
        self.assertIn(
            "FAILED q35 ImageBackedTest.test_disk_on_usb_moves_no_device"
            " (finds U1 U2 U33): Mismatch",
            text,
        )
        self.assertIn("U33: ", text)
        self.assertNotIn("U32: ", text)

    def test_report_lists_a_class_that_is_skipped_in_every_run(self) -> None:
        set_up = f"setUpClass ({TEMPEST})"
        q35 = self.run_of("q35", a=(set_up, "skip"))
        self.assertIn("every run: ServerRescueTestJSON: ", self.report(q35)[1])
        pc = self.run_of("pc", a=(OTHER, "success"))
        self.assertNotIn("every run", self.report(q35, pc)[1])

    def test_report_lists_only_tests_that_are_skipped_in_every_run(self) -> None:
        pc = self.run_of("pc", a=(IDE, "success"), b=(USB, "skip"))
        q35 = self.run_of("q35", a=(IDE, "skip"), b=(USB, "skip"))
        code, text = self.report(pc, q35)
        self.assertEqual(0, code)
        self.assertIn("Driver: 1 passed, 0 failed, 3 skipped", text)
        self.assertEqual(1, text.count("skipped in every run"))
        self.assertIn("test_disk_on_usb_moves_no_device: [stable_rescue] cases", text)
