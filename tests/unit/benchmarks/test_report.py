# SPDX-License-Identifier: Apache-2.0
"""Medians, ratios and verdicts of benchmarks."""

from oslotest import base

from benchmarks import report
from tests.unit.benchmarks.samples import crowd_row, downtime_row, samples


def failed(*rows: report.Row) -> list[str]:
    """Return the promises that do not hold, with their rows."""
    return [
        f"{verdict.promise}: {verdict.row}"
        for verdict in report.verdicts(rows)
        if not verdict.holds
    ]


class FigureTest(base.BaseTestCase):
    def test_figure_has_median_best_and_worst(self) -> None:
        figure = report.figure(samples(0.5, 2.0, 1.0, 1.5), "downtime")
        self.assertEqual(report.Figure(1.25, 0.5, 2.0, 4), figure)

    def test_samples_without_the_field_do_not_count(self) -> None:
        listed = [*samples(0.5), {**samples(0.5)[0], "shutdown": None}]
        figure = report.figure(listed, "shutdown")
        self.assertIsNotNone(figure)
        self.assertEqual(1, figure.count)
        self.assertIsNone(report.figure(listed[1:], "shutdown"))

    def test_beyond_noise_needs_values_that_do_not_overlap(self) -> None:
        self.assertTrue(report.beyond_noise([3.0, 3.1, 3.2], [2.0, 2.1, 2.2]))
        self.assertFalse(report.beyond_noise([2.0, 2.1, 2.2], [3.0, 3.1, 3.2]))
        self.assertFalse(report.beyond_noise([2.0, 2.3, 9.0], [1.0, 2.2, 3.0]))
        self.assertTrue(report.beyond_noise([3.0], [2.0]))


class VerdictTest(base.BaseTestCase):
    def test_downtime_is_compared_with_the_floor(self) -> None:
        self.assertEqual([], failed(downtime_row()))
        self.assertEqual(
            [
                "worst downtime, of the floor: rescue, 12 MB",
                "worst downtime, of the floor: unrescue, 12 MB",
            ],
            failed(downtime_row(stable=(0.5, 0.6, 0.8))),
        )
        slow = failed(downtime_row("raw", stable=(0.5, 0.7, 0.7)))
        self.assertIn("median downtime, of the floor: rescue, raw", slow)
        values = {
            verdict.promise: verdict.value
            for verdict in report.verdicts([downtime_row()])
        }
        self.assertAlmostEqual(1.2, values["median downtime, of the floor"])
        self.assertAlmostEqual(5.0, values["times less downtime than stock rescue"])

    def test_rescue_is_compared_with_stock_by_case(self) -> None:
        promise = "times less downtime than stock rescue: rescue, 2 GiB"
        self.assertEqual([promise], failed(downtime_row("2 GiB")))
        self.assertEqual([], failed(downtime_row("2 GiB", stock=(8.0, 9.0, 10.0))))
        self.assertEqual([], failed(downtime_row("rbd", stock=(0.6, 0.6, 0.6))))

    def test_unrescue_is_not_longer_than_stock(self) -> None:
        [promise] = failed(downtime_row("raw", stock=(0.3, 0.4, 0.5)))
        self.assertEqual(
            "downtime, of stock unrescue, within noise: unrescue, raw", promise
        )

    def test_request_is_not_longer_than_stock(self) -> None:
        [promise] = failed(downtime_row(status=6.0))
        self.assertEqual(
            "request to RESCUE, of stock rescue, within noise: rescue, 12 MB", promise
        )

    def test_crowd_is_compared_with_one_and_with_stock(self) -> None:
        one = crowd_row(1, 0.5, 5.0)
        self.assertEqual([], failed(one))
        self.assertEqual([], failed(one, crowd_row(20, 1.5, 20.0)))
        self.assertEqual(
            [
                "worst downtime of 20 at once, of the worst of one: rescue",
                "worst downtime of 20 at once, of the worst of one: unrescue",
                "all 20 unrescued, of stock unrescue: unrescue",
            ],
            failed(one, crowd_row(20, 1.6, 20.1)),
        )

    def test_outage_is_compared_with_the_undisturbed(self) -> None:
        def row(outage: float) -> report.Row:
            kinds = {"undisturbed": samples(0.5), "outage": samples(outage)}
            measured = {"rescue": kinds, "unrescue": kinds}
            return {"benchmark": "outage", "case": "x", "measured": measured}

        self.assertEqual([], failed(row(0.6)))
        self.assertEqual(2, len(failed(row(10.5))))
