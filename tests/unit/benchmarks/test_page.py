# SPDX-License-Identifier: Apache-2.0
"""The manual's page on performance, and the runs that it shows."""

import json
from typing import Any

from lxml import etree
from oslotest import base

from benchmarks import page, plot, results, tables
from benchmarks.catalog import BENCHMARKS
from tests.unit.benchmarks.samples import crowd_row, downtime_row


def run(*rows: dict[str, Any]) -> dict[str, Any]:
    """Return a run with rows."""
    moment = {"time": "2026-01-02T03:04:05+00:00", "load": [0.5, 1.0, 1.5]}
    return {
        "format": results.FORMAT,
        "machine": {"processor": "A", "cores": 2, "memory_mib": 2048},
        "versions": {"nova": "34.0.0", "libvirt": "9.0.0"},
        "began": moment,
        "ended": moment,
        "rows": [{**row, "began": moment, "ended": moment} for row in rows],
    }


class PublishedPageTest(base.BaseTestCase):
    """The committed page; ``tools/bench --publish FILE`` writes it."""

    def setUp(self) -> None:
        super().setUp()
        self.runs = json.loads(page.RUNS.read_text())

    def test_page_and_plots_show_the_published_runs(self) -> None:
        self.assertEqual(page.text(self.runs), page.PAGE.read_text())
        for operation, file in page.PLOTS.items():
            shown = plot.downtime(page.rows_of(self.runs), operation)
            self.assertEqual(shown, file.read_text())

    def test_runs_name_machine_versions_load_and_known_rows(self) -> None:
        for each in self.runs:
            self.assertEqual(results.FORMAT, each["format"])
            self.assertEqual({"processor", "cores", "memory_mib"}, {*each["machine"]})
            names = {"kernel", "libvirt", "qemu", "nova", "stable_rescue", "python"}
            self.assertEqual(names, {*each["versions"]})
            for row in each["rows"]:
                self.assertIn(row["case"], BENCHMARKS[row["benchmark"]].cases)
                for moment in (row["began"], row["ended"]):
                    self.assertEqual(3, len(moment["load"]))

    def test_no_row_is_published_twice(self) -> None:
        rows = page.rows_of(self.runs)
        keys = {(row["benchmark"], row["case"]) for row in rows}
        self.assertEqual(len(keys), len(rows))


class PageTest(base.BaseTestCase):
    def test_later_row_replaces_an_earlier_one(self) -> None:
        first = run(downtime_row("12 MB"), downtime_row("rbd"))
        second = run(downtime_row("12 MB", stable=[9.0]))
        merged = page.merged([first, second])
        self.assertEqual(
            [["rbd"], ["12 MB"]],
            [[row["case"] for row in each["rows"]] for each in merged],
        )
        self.assertEqual([second], page.merged([run(downtime_row("12 MB")), second]))

    def test_rows_are_in_the_order_of_the_catalog(self) -> None:
        mixed = [run(crowd_row(5, 1.0, 2.0), downtime_row("rbd"), downtime_row("raw"))]
        self.assertEqual(
            ["raw", "rbd", "5"], [row["case"] for row in page.rows_of(mixed)]
        )

    def test_page_has_figures_promises_machine_and_load(self) -> None:
        rows = (downtime_row(), crowd_row(1, 0.5, 5.0), crowd_row(20, 1.0, 9.0))
        text = page.text([run(*rows)])
        for words in (
            "0.60 s (0.70 s)",
            "median downtime, of the floor",
            "A, 2 cores, 2 GiB",
            "libvirt 9.0.0",
            "     - floor\n     - 4.0 s\n     - 0.75 s\n     - none\n",
            "downtime 12 MB (0.5, 0.5)",
            "2026-01-02 03:04 UTC",
        ):
            self.assertIn(words, text)

    def test_promise_shows_its_worst_row_and_how_many_hold(self) -> None:
        rows = [downtime_row("12 MB"), downtime_row("raw", stable=(0.7, 0.7, 0.7))]
        shown = "\n".join(tables.promises(rows))
        self.assertIn("at most 1.25", shown)
        self.assertIn("1.40", shown)
        self.assertIn("2 of 4 rows", shown)

    def test_plot_is_svg_with_a_bar_for_each_median(self) -> None:
        root = etree.fromstring(plot.downtime([downtime_row()], "rescue").encode())
        texts = [element.text for element in root.iter("{*}text")]
        self.assertEqual(["12 MB", "0.50", "0.60", "3.00"], texts[3:])
        bars = [float(bar.get("width")) for bar in root.iter("{*}rect")][3:]
        self.assertAlmostEqual(6.0, bars[2] / bars[0], places=1)
