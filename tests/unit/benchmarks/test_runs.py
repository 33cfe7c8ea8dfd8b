# SPDX-License-Identifier: Apache-2.0
"""The command line, the file of a run, and the samples of one operation."""

import contextlib
import io
import tempfile
from pathlib import Path
from unittest import mock

from oslotest import base

from benchmarks import __main__ as bench
from benchmarks import machine, results
from benchmarks.catalog import BENCHMARKS
from benchmarks.cloud import downtime, stage
from benchmarks.cloud.operation import OFF_SECONDS, Sample, Subject
from lab.errors import LabError
from lab.servers.events import Event, Events


class CommandLineTest(base.BaseTestCase):
    def test_list_prints_each_benchmark_and_case(self) -> None:
        with contextlib.redirect_stdout(io.StringIO()) as output:
            self.assertEqual(0, bench.main(["--list"]))
        for name, benchmark in BENCHMARKS.items():
            self.assertIn(f"{name} ", output.getvalue())
            for case in benchmark.cases:
                self.assertIn(case, output.getvalue())

    def test_names_and_cases_choose_what_runs(self) -> None:
        everything = {name: each.cases for name, each in BENCHMARKS.items()}
        self.assertEqual(everything, bench.chosen([], []))
        self.assertEqual({"crowd": ("1", "20")}, bench.chosen(["crowd"], ["20", "1"]))
        self.assertEqual({"downtime": ("rbd",)}, bench.chosen([], ["rbd"]))

    def test_unknown_benchmark_or_case_is_refused(self) -> None:
        self.assertRaisesRegex(LabError, "uptime", bench.chosen, ["uptime"], [])
        self.assertRaisesRegex(LabError, "rbd", bench.chosen, ["crowd"], ["rbd"])

    def test_rounds_depend_on_options(self) -> None:
        for words, rounds in (([], 10), (["--quick"], 2), (["--rounds", "3"], 3)):
            arguments = bench.parser().parse_args(words)
            self.assertEqual(rounds, bench.rounds_of(arguments, "downtime"))

    def test_every_downtime_case_is_defined(self) -> None:
        self.assertEqual(BENCHMARKS["downtime"].cases, tuple(downtime.CASES))


class RunTest(base.BaseTestCase):
    def test_run_keeps_machine_versions_and_the_newest_row(self) -> None:
        began = results.Moment("2026-01-01T00:00:00+00:00", (1.0, 2.0, 3.0))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "run.json")
            results.begin(file, machine.machine(), machine.versions())
            for case, value in (("1", 1), ("5", 2), ("1", 3)):
                results.add(file, results.row("crowd", case, began, value))
            run = results.load(file)
        measured = [(row["case"], row["measured"]) for row in run["rows"]]
        self.assertEqual([("5", 2), ("1", 3)], measured)
        self.assertEqual([1.0, 2.0, 3.0], run["rows"][0]["began"]["load"])
        self.assertEqual(run["rows"][1]["ended"], run["ended"])
        self.assertEqual({"processor", "cores", "memory_mib"}, {*run["machine"]})
        self.assertIn("stable_rescue", run["versions"])

    def test_other_json_is_not_a_run(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "run.json")
            file.write_text("[]")
            self.assertRaises(ValueError, results.load, file)

    def test_drivers_take_turns(self) -> None:
        self.assertEqual(
            [("stable", 3), ("stock", 3), ("stable", 2), ("stock", 2)], stage.blocks(5)
        )
        self.assertEqual([("stable", 1), ("stock", 1)], stage.blocks(1))


class SampleTest(base.BaseTestCase):
    @staticmethod
    def _events(*names: str) -> list[Event]:
        return [Event(100.0 + number, "one", name) for number, name in enumerate(names)]

    def test_shutdown_is_apart_from_the_downtime(self) -> None:
        events = self._events(
            "POWERDOWN", "POWERDOWN", "Shutdown", "Stopped", "Started"
        )
        sample = Sample.of(events, requested=98.0, reached=110.0)
        self.assertEqual(Sample(downtime=1.0, shutdown=3.0, status=12.0), sample)

    def test_guest_that_is_destroyed_has_no_shutdown(self) -> None:
        sample = Sample.of(self._events("Stopped", "Started"), 98.0, 110.0)
        self.assertIsNone(sample.shutdown)

    def test_downtime_lasts_until_the_last_start(self) -> None:
        names = ("Stopped", "Started", "Stopped", "Started")
        self.assertEqual(3.0, Sample.of(self._events(*names), 98.0, 110.0).downtime)

    def test_guest_that_did_not_stop_is_an_error(self) -> None:
        events = self._events("Started")
        self.assertRaises(LabError, Sample.of, events, 98.0, 110.0)


class SubjectTest(base.BaseTestCase):
    """The API is not asked while the guest is off."""

    def is_off(self, *names: str, seconds: float = 0.0) -> bool:
        events = Events()
        events._events = [
            Event(100.0 + number, "one", name) for number, name in enumerate(names)
        ]
        server = mock.Mock(instance_name="one")
        subject = Subject(mock.Mock(), mock.Mock(), events, server)
        with mock.patch("time.time", lambda: 100.0 + len(names) + seconds):
            return subject.is_off(100.0)

    def test_guest_is_off_between_stop_and_start(self) -> None:
        self.assertFalse(self.is_off("POWERDOWN"))
        self.assertTrue(self.is_off("POWERDOWN", "Stopped"))
        self.assertFalse(self.is_off("Stopped", "Started"))
        self.assertTrue(self.is_off("Stopped", "Started", "Stopped"))

    def test_guest_that_stays_off_is_asked_for(self) -> None:
        self.assertFalse(self.is_off("Stopped", seconds=OFF_SECONDS))
