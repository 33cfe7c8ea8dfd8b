# SPDX-License-Identifier: Apache-2.0

"""The levels that tools/test runs."""

import contextlib
import importlib.machinery
import importlib.util
import io
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from collections import Counter
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest import mock

TOOLS = Path(__file__).resolve().parents[2] / "tools"
SCRIPT = TOOLS / "test"
KEEPER = TOOLS / "levels" / "keeper.py"
SLEEP = "import time; time.sleep(3600)"
#: Starts a process in another session, prints its id, and ends or waits.
DAEMON = f"""
import subprocess, sys
command = [sys.executable, "-c", "{SLEEP}"]
print(subprocess.Popen(command, start_new_session=True).pid, flush=True)
"""

with mock.patch.object(sys, "path", [str(TOOLS), *sys.path]):
    from levels import made, processes, running, setup


def load_script() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("tools_test", str(SCRIPT))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    script = importlib.util.module_from_spec(spec)
    loader.exec_module(script)
    return script


def alive(pid: int) -> bool:
    """Return True if a process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class ChosenLevelsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.script = load_script()

    def chosen(self, *arguments: str) -> list[str]:
        return list(self.script.chosen_levels(list(arguments)))

    def rejected(self, *arguments: str) -> str:
        """Assert that a command line is rejected, and return the reason."""
        with (
            contextlib.redirect_stderr(io.StringIO()) as reason,
            self.assertRaises(SystemExit),
        ):
            self.chosen(*arguments)
        return reason.getvalue()

    def test_default_is_newest_nova_and_part_of_older_releases(self) -> None:
        newest = ["pep8", "mypy", "py3", "functional", "nova-tests", "integration"]
        older = ["nova31-quick", "nova32-quick", "nova33-quick"]
        self.assertEqual(newest + older, self.chosen())

    def test_all_includes_every_release_in_full(self) -> None:
        levels = self.chosen("--all")
        self.assertLessEqual({*self.script.LEVELS, *self.script.RELEASES}, {*levels})
        self.assertLessEqual({*self.script.HYPERVISORS}, {*levels})
        self.assertFalse([level for level in levels if level.endswith("-quick")])

    def test_all_runs_more_sequences_of_the_model(self) -> None:
        self.assertEqual(
            {"STABLE_RESCUE_SEQUENCES": "2000"},
            self.script.defaults_of(self.chosen("--all")),
        )
        self.assertEqual({}, self.script.defaults_of(self.chosen()))

    def test_quick_is_lint_types_and_unit_tests(self) -> None:
        self.assertEqual(["pep8", "mypy", "py3"], self.chosen("quick"))

    def test_named_levels_run_in_the_given_order_once(self) -> None:
        self.assertEqual(["py3", "pep8", "mypy"], self.chosen("py3", "quick", "py3"))

    def test_unknown_level_is_rejected_by_name(self) -> None:
        self.assertIn("unknown level: slow", self.rejected("py3", "slow"))

    def test_level_beside_all_is_rejected(self) -> None:
        self.assertIn("--all", self.rejected("--all", "py3"))


class InterruptionTest(unittest.TestCase):
    def test_interrupted_run_ends_with_a_line_and_a_status(self) -> None:
        script = load_script()
        with (
            mock.patch.object(script, "main", side_effect=KeyboardInterrupt),
            contextlib.redirect_stderr(io.StringIO()) as output,
        ):
            self.assertEqual(130, script.run())
        self.assertEqual("interrupted; no process is left\n", output.getvalue())


class ShareTest(unittest.TestCase):
    def test_levels_share_the_cores(self) -> None:
        for cores, levels, lanes, workers in (
            (1, 9, 2, 1),
            (2, 1, 1, 3),
            (2, 9, 2, 2),
            (4, 9, 2, 3),
            (8, 9, 2, 6),
            (8, 1, 1, 12),
            (64, 9, 9, 11),
        ):
            with self.subTest(cores=cores, levels=levels):
                share = running.Share.of_cores(cores, levels)
                self.assertEqual(running.Share(lanes, workers), share)


class FakeProcesses:
    """Processes of which tox cannot make some environments."""

    def __init__(self, *failing: str) -> None:
        self.commands: list[str] = []
        self._failing = {*failing}

    def start(
        self, command: list[str], environ: dict[str, str], cwd: Path
    ) -> SimpleNamespace:
        self.commands.append(command[-1])
        levels = command[-1].split(",")
        results = {
            level: "FAIL" if level in self._failing else "OK" for level in levels
        }
        lines = [f"{level}: {results[level]} in 1 seconds" for level in levels[:-1]]
        lines += [f"  {level}: {results[level]} (1 seconds)" for level in levels]
        return SimpleNamespace(
            stdout=io.StringIO("\n".join(["the reason", *lines, ""])),
            status=int("FAIL" in results.values()),
        )

    def wait(self, process: SimpleNamespace) -> int:
        return process.status

    def run(
        self, command: list[str], environ: dict[str, str], log: Path, cwd: Path
    ) -> int:
        self.commands.append(command[-1])
        log.write_text("the reason\n")
        return int(command[-1] in self._failing)


class PreparationTest(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        for name in made.SOURCES:
            (self.folder / name).parent.mkdir(exist_ok=True)
            (self.folder / name).touch()

    def prepare(self, fake: FakeProcesses, *levels: str) -> setup.Preparation:
        preparation = setup.Preparation(levels, fake)
        listed = mock.Mock(stdout="ovmf zstd\n")
        for level in levels:
            (self.folder / level).mkdir(exist_ok=True)
        with (
            mock.patch.object(made, "ROOT", self.folder),
            mock.patch.object(made, "TOX", self.folder),
            mock.patch.object(
                setup, "log_of", lambda name: self.folder / f"{name}.log"
            ),
            mock.patch.object(setup, "environment", dict),
            mock.patch.object(setup.subprocess, "run", return_value=listed) as bindep,
            mock.patch.object(setup, "install_packages", fake.commands.extend),
        ):
            preparation.run()
        self.bindep = bindep
        return preparation

    def test_environments_are_made_in_one_run_after_the_packages(self) -> None:
        fake = FakeProcesses("functional")
        levels = ("mypy", "py3", "functional", "integration")
        preparation = self.prepare(fake, *levels)
        self.assertEqual(["integration", "test"], self.bindep.call_args.args[0][2:])
        guests = str(setup.GUESTS)
        self.assertEqual(
            ["mypy", "ovmf", "zstd", "py3,functional,integration", guests],
            fake.commands,
        )
        for level in ("mypy", "py3", "integration"):
            preparation.wait(level)
        with self.assertRaisesRegex(setup.NotReadyError, "the reason"):
            preparation.wait("functional")

    def test_guests_that_cannot_be_built_fail_integration_alone(self) -> None:
        fake = FakeProcesses(str(setup.GUESTS))
        preparation = self.prepare(fake, "integration", "py3")
        preparation.wait("py3")
        with self.assertRaisesRegex(setup.NotReadyError, "the reason"):
            preparation.wait("integration")

    def test_environment_is_made_again_after_a_failure_or_a_change(self) -> None:
        self.prepare(FakeProcesses("py3"), "mypy", "py3", "functional")
        for changed, expected in (
            (None, ["ovmf", "zstd", "py3"]),
            (None, ["ovmf", "zstd"]),
            ("setup.cfg", ["mypy", "ovmf", "zstd", "py3,functional"]),
        ):
            with self.subTest(changed=changed):
                if changed:
                    (self.folder / changed).write_text("another requirement\n")
                fake = FakeProcesses()
                preparation = self.prepare(fake, "mypy", "py3", "functional")
                self.assertEqual(expected, fake.commands)
                for level in ("mypy", "py3", "functional"):
                    preparation.wait(level)

    def test_level_without_its_python_is_unavailable(self) -> None:
        fake = FakeProcesses("3.13")
        preparation = self.prepare(fake, "nova34-py313", "nova34-py312")
        preparation.wait("nova34-py312")
        with self.assertRaises(setup.UnavailableError):
            preparation.wait("nova34-py313")
        self.assertEqual("nova34-py312", fake.commands[-1])


class FakePreparation:
    """Levels of which some cannot be prepared."""

    def __init__(self, **errors: Exception) -> None:
        self._errors = errors

    def wait(self, level: str) -> None:
        if level in self._errors:
            raise self._errors[level]

    def join(self) -> None:
        pass


class RunnerTest(unittest.TestCase):
    """Levels that are Python programs in place of tox."""

    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.programs: dict[str, str] = {}
        self.output = io.StringIO()
        limits = mock.MagicMock()
        limits.__getitem__.return_value = 60
        for name, value in (
            ("tox", lambda *words: [sys.executable, "-c", self.programs[words[-1]]]),
            ("log_of", lambda level: self.folder / level),
            ("LIMITS", limits),
        ):
            patch = mock.patch.object(running, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def run_all(self, cores: int = 2, **errors: Exception) -> Counter[str]:
        runner = running.Runner(
            FakePreparation(**errors), processes.Processes(), str(self.folder)
        )
        with (
            mock.patch.object(os, "sched_getaffinity", lambda _: range(cores)),
            contextlib.redirect_stdout(self.output),
        ):
            return runner.run_all([*self.programs, *errors])

    def test_totals_are_added_and_failures_printed(self) -> None:
        self.programs = {
            "good": "print(' - Passed: 3\\n - Skipped: 1')",
            "bad": "print('{0} a.good [1s] ... ok'); print('{0} a.bad [1s] ... FAILED')"
            "; print('why\\n - Passed: 1\\n - Failed: 1'); raise SystemExit(1)",
            "broken": "raise SystemExit('no such thing')",
            "plain": "",
        }
        errors = {
            "unready": setup.NotReadyError("no network"),
            "foreign": setup.UnavailableError(),
        }
        totals = self.run_all(**errors)
        self.assertEqual({"passed": 5, "failed": 3, "skipped": 2}, dict(totals))
        text = self.output.getvalue()
        for part in ("bad: why", "a.bad", "no such thing", "no network", "foreign:"):
            self.assertIn(part, text)
        self.assertNotIn("a.good", text)
        self.assertIn("a.good", (self.folder / "bad").read_text())

    def test_two_levels_run_side_by_side(self) -> None:
        wait = (
            "import pathlib, sys, time\n"
            f"folder = pathlib.Path({str(self.folder)!r})\n"
            "(folder / '{0}.on').touch()\n"
            "while not (folder / '{1}.on').exists(): time.sleep(0.01)\n"
        )
        self.programs = {
            "one": wait.format("one", "two"),
            "two": wait.format("two", "one"),
        }
        self.assertEqual({"passed": 2}, dict(self.run_all()))

    def test_level_gets_its_workers_and_the_tmpfs(self) -> None:
        names = "STABLE_RESCUE_WORKERS", "TMPDIR", "STABLE_RESCUE_MEMORY"
        show = f"import os; print(*(os.environ.get(name) for name in {names}))"
        self.programs = {"py3": show, "integration": show}
        with mock.patch.dict(os.environ, {"TMPDIR": "/tmp"}):
            os.environ.pop("STABLE_RESCUE_WORKERS", None)
            os.environ.pop("STABLE_RESCUE_MEMORY", None)
            self.run_all()
        logs = [(self.folder / level).read_text() for level in self.programs]
        self.assertEqual(
            [f"2 {self.folder} None", f"2 /tmp {self.folder}"],
            [log.splitlines()[0] for log in logs],
        )
        self.assertRegex(
            self.output.getvalue(), r"passed, .* s, used \d+ s of CPU time"
        )

    def test_interruption_ends_all_processes(self) -> None:
        self.programs = {"long": DAEMON + SLEEP, "later": SLEEP}

        def interrupt() -> None:
            for _ in range(6000):
                if (self.folder / "long").read_text().endswith("\n"):
                    break
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

        # A shell starts its background jobs with SIGINT ignored.
        handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, handler)

        (self.folder / "long").touch()
        threading.Thread(target=interrupt).start()
        with self.assertRaises(KeyboardInterrupt):
            self.run_all()
        pid = int((self.folder / "long").read_text().splitlines()[0])
        self.assertFalse(alive(pid))
        self.assertNotIn("failed", self.output.getvalue())


class KeeperTest(unittest.TestCase):
    def keep(self, seconds: float, program: str) -> tuple[int, str]:
        command = [sys.executable, str(KEEPER), str(seconds)]
        completed = subprocess.run(
            [*command, sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            text=True,
        )
        return completed.returncode, completed.stdout

    def test_status_of_the_command_is_returned(self) -> None:
        busy = "import os\nwhile sum(os.times()[:2]) < 0.7: pass\nraise SystemExit(7)"
        status, output = self.keep(60, busy)
        self.assertEqual(7, status)
        self.assertRegex(output, r"\Aused [1-9]\d* s of CPU time\n\Z")

    def test_process_left_behind_is_ended_and_fails(self) -> None:
        status, output = self.keep(60, DAEMON)
        self.assertEqual(1, status)
        self.assertIn("left this process running:", output)
        self.assertFalse(alive(int(output.splitlines()[0])))

    def test_command_is_ended_after_its_time_limit(self) -> None:
        status, output = self.keep(0.2, SLEEP)
        self.assertEqual(124, status)
        self.assertIn("\nended after its time limit of 0 s\n", output)
