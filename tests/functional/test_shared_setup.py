# SPDX-License-Identifier: Apache-2.0
"""Tests that share their set-up report their own results, and leave nothing behind."""

import os
import signal
import threading
import time
import unittest
from unittest import mock

import futurist
import testtools
from nova import conf
from oslo_log import log
from oslotest import base

from tests import shared_setup
from tests.functional.server import ServerTestBase

CONF = conf.CONF
LOG = log.getLogger(__name__)


def example() -> type[ServerTestBase]:
    """Return a test case that no loader finds, with a thread that ends soon."""
    worker = os.getpid()

    class Example(ServerTestBase):
        def setUp(self) -> None:
            super().setUp()
            threading.Thread(target=time.sleep, args=(0.5,)).start()

        def test_1_passes_and_changes_what_it_can(self) -> None:
            self.rescue_server()
            self.flags(stalled_after=5, group="stable_rescue")
            self.image = "changed"
            (self.folder(self.server) / "new").touch()

        def test_2_finds_nothing_changed(self) -> None:
            self.assert_restored()
            self.assertNotEqual("changed", self.image)
            self.assertNotEqual(5, CONF.stable_rescue.stalled_after)

        def test_3_fails(self) -> None:
            LOG.warning("why it failed")
            self.assertEqual("expected", "seen")

        def test_4_dies(self) -> None:
            # Without a fork, the worker would die, and stestr leave out its tests.
            self.assertNotEqual(worker, os.getpid())
            os.kill(os.getpid(), signal.SIGKILL)

        def test_5_is_skipped(self) -> None:
            self.skipTest("not here")

    return Example


def broken() -> type[ServerTestBase]:
    """Return a test case whose set-up fails."""

    class Broken(ServerTestBase):
        def setUp(self) -> None:
            raise RuntimeError("no server")

        def test_1(self) -> None:
            pass

        def test_2(self) -> None:
            pass

    return Broken


class SharedSetUpTest(base.BaseTestCase):
    def run_tests(self, case: type[ServerTestBase]) -> testtools.TestResult:
        """Return the results of a test case."""
        result = testtools.TestResult()
        unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
        return result

    def test_failed_set_up_is_the_error_of_each_test(self) -> None:
        result = self.run_tests(broken())
        self.assertEqual(2, result.testsRun)
        self.assertEqual(2, len(result.errors))
        for _test, error in result.errors:
            self.assertIn("no server", error)

    def test_failure_after_a_test_is_an_error_of_that_test(self) -> None:
        restore = shared_setup.Prepared._restore_files

        def restore_and_fail(prepared: shared_setup.Prepared) -> None:
            restore(prepared)
            raise OSError("busy")

        with mock.patch.object(
            shared_setup.Prepared, "_restore_files", restore_and_fail
        ):
            result = self.run_tests(example())
        busy = [error for _test, error in result.errors if "busy" in error]
        self.assertEqual(5, len(busy))

    def test_each_test_of_a_class_has_its_own_result(self) -> None:
        # An earlier test may have left it.
        pool = futurist.ThreadPoolExecutor(1)
        pool.submit(lambda: None).result()
        result = self.run_tests(example())
        self.assertEqual(5, result.testsRun)
        ((failed, failure),) = result.failures
        self.assertEqual("test_3_fails", failed.id().rpartition(".")[2])
        for text in ("why it failed", "'expected'", "in test_3_fails"):
            self.assertIn(text, failure)
        ((died, error),) = result.errors
        self.assertEqual("test_4_dies", died.id().rpartition(".")[2])
        self.assertIn("lost connection", error)
        self.assertEqual(["not here"], list(result.skip_reasons))
