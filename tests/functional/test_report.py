# SPDX-License-Identifier: Apache-2.0
"""The report that nova-compute writes of a rescue."""

import os
from typing import Any

import fixtures

from stable_rescue.domain.document import Domain
from stable_rescue.storage import reports
from stable_rescue.virt import evidence
from tests.functional.overlays import DiscardingMixin
from tests.functional.server import ServerTestBase
from tests.functional.test_stopped_phase import StoppedPhaseFixture


class ReportTest(DiscardingMixin, ServerTestBase):
    def make_server(self) -> None:
        super().make_server()
        self.flags(state_path=self.useFixture(fixtures.TempDir()).path)
        self.useFixture(
            fixtures.MonkeyPatch(
                "nova.tests.fixtures.libvirt.Connection.domainListGetStats",
                self._stats,
            )
        )

    @staticmethod
    def _stats(_connection: Any, domains: list[Any], _stats: int, _flags: int) -> Any:
        counted = {"name": "vda", "wr.reqs": 9}, {"name": "vda", "wr.reqs": 0}
        stats = {
            f"block.{n}.{k}": v for n, c in enumerate(counted) for k, v in c.items()
        }
        return [(domains[0], {"block.count": len(counted), **stats})]

    def report(self) -> reports.Report:
        (path,) = reports.paths_of(self.server["id"])
        return reports.read(path)

    def test_report_says_who_asked_for_which_rescue(self) -> None:
        self.rescue_server()
        (action, *_earlier) = self.api.get_instance_actions(self.server["id"])
        report = self.report()
        self.assertEqual(
            (action["request_id"], action["project_id"], self.image),
            (report["request_id"], report["project_id"], report["image"]["id"]),
        )
        self.assertIn("discarding writes", report["kind"])

    def test_definition_before_and_after_is_the_same(self) -> None:
        self.rescue_server()
        self.unrescue_server()
        report = self.report()
        before = evidence.digest_of(Domain.parse(self.next_definition()))
        digests = {
            entry["what"]: entry.get("definition_sha256") for entry in report["log"]
        }
        self.assertEqual(before, digests["ended"])
        self.assertNotEqual(before, digests["started"])
        self.assertEqual(["started", "ending", "ended"], [*digests])

    def test_each_disk_has_its_overlay_and_its_writes(self) -> None:
        self.rescue_server()
        self.unrescue_server()
        report = self.report()
        overlays = {disk["target"]: disk["overlay"] for disk in report["disks"]}
        self.assertTrue(overlays["vda"].endswith("overlay.vda.rescue"))
        (ending,) = (e for e in report["log"] if e["what"] == "ending")
        self.assertEqual({"vda": 0}, ending["writes_to_originals"])

    def test_interrupted_rescue_is_noted(self) -> None:
        self.rescue_server()
        self.domain().destroy()
        self.restart_compute_service("compute1")
        self.assert_rescued()
        entry = self.report()["log"][-1]
        self.assertEqual(("recovered", "rescued"), (entry["what"], entry["outcome"]))

    def test_rescue_without_a_report_succeeds(self) -> None:
        folder = reports.folder()
        folder.write_text("not a folder")
        self.rescue_server()
        self.unrescue_server()
        self.assert_restored()

    def test_nothing_is_written_while_the_guest_is_off(self) -> None:
        phases = self.useFixture(StoppedPhaseFixture())
        self.rescue_server()
        self.unrescue_server()
        self.assertEqual([[], []], phases.calls)
        self.assertNotEqual([], self.report()["log"])

    def test_report_outlives_the_server(self) -> None:
        self.rescue_server()
        self._delete_server(self.server)
        self.assertEqual(self.server["id"], self.report()["server"])

    def test_nova_compute_removes_old_reports(self) -> None:
        self.rescue_server()
        self.flags(report_keep_days=1, group="stable_rescue")
        (path,) = reports.paths_of(self.server["id"])
        self.manager._remove_old_rescue_reports(self.context)
        self.assertTrue(path.exists())
        os.utime(path, (0, 0))
        self.manager._remove_old_rescue_reports(self.context)
        self.assertFalse(path.exists())
