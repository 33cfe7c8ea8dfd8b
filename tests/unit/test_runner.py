# SPDX-License-Identifier: Apache-2.0
"""A level fails if stestr has left out a test of its list; tests are imported once."""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from stestr import scheduler

from tests import runner, seconds

ROOT = Path(__file__).resolve().parents[2]
#: {end} runs between two tests.
TESTS = """
import os
import signal
import unittest

with open(__file__ + ".imports", "a") as imports:
    print(os.getpid(), file=imports)


class First(unittest.TestCase):
    def test_passes(self):
        pass

    @unittest.skip("not here")
    def test_is_skipped(self):
        pass

    @unittest.expectedFailure
    def test_fails_as_expected(self):
        self.fail()


class Second(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        {end}

    def test_after_the_end(self):
        pass

    def test_long_after_the_end(self):
        pass
"""
#: As with Nova up to release 33, an import makes a hub.
TEST_OF_HUB = """
import unittest

from eventlet import hubs

SHARED = hubs.get_hub()


class HubTest(unittest.TestCase):
    def test_has_a_hub_of_its_own(self):
        self.assertIsNot(SHARED, hubs.get_hub())
"""


class RunnerTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def run_tests(
        self, end: str, *arguments: str, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the tests, in which `end` precedes the second class."""
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        environ.pop("PYTHON", None)
        tests = self.folder / "tests_of_runner"
        tests.mkdir(exist_ok=True)
        (tests / "__init__.py").touch()
        (tests / "test_two.py").write_text(TESTS.format(end=end))
        (self.folder / ".stestr.conf").write_text("[DEFAULT]\ngroup_regex=(.*)\\.\n")
        options = ["--test-path", str(tests), "--top-dir", str(self.folder)]
        return subprocess.run(
            [sys.executable, "-m", "tests.runner", *options, "run", *arguments],
            cwd=self.folder,
            env=environ | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def assert_missed(self, result: subprocess.CompletedProcess[str]) -> None:
        """Assert that the run has failed for the tests of the second class alone."""
        self.assertNotEqual(0, result.returncode, result.stdout)
        # stestr itself finds nothing wrong.
        self.assertIn(" - Failed: 0\n", result.stdout)
        case = "tests_of_runner.test_two.Second"
        self.assertIn(
            "2 tests were not run:\n"
            f"    {case}.test_after_the_end\n"
            f"    {case}.test_long_after_the_end\n",
            result.stdout,
        )

    def test_run_whose_worker_ends_early_fails(self) -> None:
        for end in ("os._exit(3)", "os.kill(os.getpid(), signal.SIGKILL)"):
            with self.subTest(end=end):
                self.assert_missed(self.run_tests(end, "--concurrency", "2"))

    def test_one_worker_that_ends_early_fails_after_a_success(self) -> None:
        result = self.run_tests("pass", "--concurrency", "1")
        self.assertEqual(0, result.returncode, result.stdout)
        self.assertIn(" - Passed: 3\n", result.stdout)
        self.assert_missed(self.run_tests("os._exit(0)", "--concurrency", "1"))

    def test_worker_that_finds_fewer_tests_fails_the_run(self) -> None:
        # A worker, which gets a list of tests, does not find the second class.
        worker = self.folder / "python"
        hide = f"sed -i /after/d {self.folder}/tests_of_runner/test_two.py"
        worker.write_text(
            f'#!/bin/sh\ncase "$*" in *--load-list*) {hide};; esac\n'
            f'exec {sys.executable} -B "$@"\n'
        )
        worker.chmod(0o755)
        result = self.run_tests("pass", "--concurrency", "2", PYTHON=str(worker))
        self.assert_missed(result)

    def test_tests_that_are_not_selected_are_not_missed(self) -> None:
        result = self.run_tests("os._exit(0)", "First")
        self.assertEqual(0, result.returncode, result.stdout)
        self.assertIn(" - Passed: 1\n", result.stdout)

    def test_slow_class_gets_a_worker_of_its_own(self) -> None:
        tests = [f"tests.{name}.test_passes" for name in "ABCD"]
        repository = mock.Mock()
        repository.get_test_times.return_value = {"known": {}, "unknown": {*tests}}
        of_classes = {"tests.A": 1, "tests.B": 1, "tests.C": 10, "tests.D": 1}
        with (
            mock.patch.object(seconds, "OF_CLASSES", of_classes),
            runner.known_times(repository),
        ):
            shares = scheduler.partition_tests(tests, 2, repository, None)
        self.assertIn([tests[2]], shares)

    def test_tests_are_imported_once_for_all_workers(self) -> None:
        result = self.run_tests("pass", "--concurrency", "2")
        self.assertEqual(0, result.returncode, result.stdout)
        self.assertIn(" - Worker 1 ", result.stdout)
        imports = self.folder / "tests_of_runner" / "test_two.py.imports"
        self.assertEqual(1, len(imports.read_text().splitlines()))

    def test_workers_do_not_share_the_hub_of_eventlet(self) -> None:
        (self.folder / "tests_of_runner").mkdir()
        (self.folder / "tests_of_runner" / "test_hub.py").write_text(TEST_OF_HUB)
        result = self.run_tests("pass", "--concurrency", "2", "test_hub")
        self.assertEqual(0, result.returncode, result.stdout)
        self.assertIn(" - Passed: 1\n", result.stdout)

    def test_failed_import_is_reported(self) -> None:
        (self.folder / "tests_of_runner").mkdir()
        broken = self.folder / "tests_of_runner" / "test_broken.py"
        broken.write_text("import a_module_that_is_missing\n")
        result = self.run_tests("pass", "--concurrency", "2")
        self.assertNotEqual(0, result.returncode, result.stdout)
        self.assertIn("No module named 'a_module_that_is_missing'", result.stdout)

    def test_failed_test_fails_the_run(self) -> None:
        result = self.run_tests("cls.test_after_the_end = cls.fail")
        self.assertNotEqual(0, result.returncode, result.stdout)
