# SPDX-License-Identifier: Apache-2.0
"""What monitoring sees of rescues: metrics, and the guru meditation report."""

from pathlib import Path

import fixtures
from nova import exception as nova_exception
from nova import version
from oslo_reports import guru_meditation_report
from prometheus_client import parser

from stable_rescue.storage import medium
from stable_rescue.virt import guest
from tests.functional.server import ServerTestBase


class MetricsTest(ServerTestBase):
    def setUp(self) -> None:
        super().setUp()
        self.file = Path(self.useFixture(fixtures.TempDir()).path, "rescue.prom")
        self.flags(metrics_file=str(self.file), group="stable_rescue")
        self.at_first = self.metrics()

    def metrics(self) -> dict[str, float]:
        """Return the values in the file that the host writes, by name and labels."""
        self.manager._write_rescue_metrics(self.context)
        families = parser.text_string_to_metric_families(self.file.read_text())
        return {
            " ".join((sample.name, *sample.labels.values())): sample.value
            for family in families
            for sample in family.samples
        }

    def changes(self) -> dict[str, float]:
        """Return what was counted in this test; other tests share the process."""
        now = self.metrics()
        return {
            name.removeprefix("stable_rescue_"): value - self.at_first.get(name, 0)
            for name, value in now.items()
            if value != self.at_first.get(name, 0)
            and not name.endswith("_created")
            and "seconds_sum" not in name
            and "seconds_bucket" not in name
            and "_created " not in name
        }

    def test_rescue_and_unrescue_are_counted_with_their_downtime(self) -> None:
        self.rescue_server()
        rescued = {
            "rescues_total stable succeeded": 1,
            "downtime_seconds_count rescue": 1,
        }
        self.assertEqual(rescued | {"rescued_servers": 1}, self.changes())
        self.unrescue_server()
        self.assertEqual(
            rescued
            | {
                "unrescues_total stable succeeded": 1,
                "downtime_seconds_count server": 1,
            },
            self.changes(),
        )

    def test_stopped_server_has_no_downtime(self) -> None:
        self._stop_server(self.server)
        self.rescue_server()
        self.unrescue_server("SHUTOFF")
        self.assertEqual(
            {
                "rescues_total stable succeeded": 1,
                "unrescues_total stable succeeded": 1,
            },
            self.changes(),
        )

    def test_stock_rescue_is_counted_as_one(self) -> None:
        self.rescue_server(self.create_rescue_image())
        self.unrescue_server()
        self.assertEqual(
            {
                "rescues_total stock succeeded": 1,
                "downtime_seconds_count rescue": 1,
                "unrescues_total stock succeeded": 1,
                "downtime_seconds_count server": 1,
            },
            self.changes(),
        )

    def test_refusal_is_counted_with_its_reason(self) -> None:
        image = self.create_rescue_image(hw_rescue_bus="xen")
        self.assert_refused("hw_rescue_bus='xen'", image=image)
        self.assertEqual({"refusals_total unsuitable": 1}, self.changes())

    def test_failed_rescue_is_counted_with_the_recovery(self) -> None:
        error = nova_exception.NovaException("no start")
        with fixtures.MockPatchObject(guest, "start", side_effect=[error]):
            self.error_of(self.rescue, self.server, self.image)
        changes = self.changes()
        self.assertEqual(1, changes["rescues_total stable failed"])
        self.assertNotIn("rescues_total stable succeeded", changes)

    def test_folder_that_is_gone_is_logged(self) -> None:
        log = self.useFixture(fixtures.FakeLogger())
        self.flags(metrics_file="/nowhere/rescue.prom", group="stable_rescue")
        self.manager._write_rescue_metrics(self.context)
        self.assertIn("Could not write [stable_rescue] metrics_file", log.output)


class ReportTest(ServerTestBase):
    def report(self) -> str:
        """Return the last section of this process' guru meditation report."""
        report = guru_meditation_report.TextGuruMeditation(version)
        return str(report.run()).partition("Rescues under way")[2]

    def test_report_lists_what_hangs(self) -> None:
        seen = []
        fetch = medium.RescueMedium.fetch

        def note_report(*args: object) -> None:
            seen.append(self.report())
            fetch(*args)

        self.useFixture(
            fixtures.MockPatchObject(medium.RescueMedium, "fetch", note_report)
        )
        self.rescue_server()
        self.assertIn(self.server["id"], seen[0])
        self.assertRegex(seen[0], r"\brescue for \d+\.\d seconds")
        self.assertRegex(seen[0], r"rescue_prepare for \d+\.\d seconds")
        self.assertNotIn(self.server["id"], self.report())
