# SPDX-License-Identifier: Apache-2.0

"""How Nova's tests are run with our class, and held to the list of differences."""

from collections.abc import Callable
from typing import Any
from unittest import mock

import fixtures
import testtools

from tests.nova import intended, replaced


class Novas:
    """Stands for Nova's driver."""

    def rescue(self) -> str:
        """Say whose it is."""
        return "Nova's"

    @staticmethod
    def helper(value: str) -> str:
        """Return what it is given."""
        return value


class Ours(Novas):
    """Stands for our driver."""

    def rescue(self) -> str:
        """Say whose it is."""
        return "ours"


#: What Nova's tests take for Nova's driver.
Driver = Novas


def difference(failure: str) -> intended.Change:
    """Return a difference of the test below."""
    return intended.Change("U1", "case", "runTest", failure, "rescue")


class TestReplaced(testtools.TestCase):
    """A test case of Nova's is subclassed, run, and leaves nothing behind."""

    def run_with_ours(
        self, test: Callable[[Any], None], *changes: intended.Change
    ) -> testtools.TestResult:
        """Run a method as a test of Nova's, with our class."""
        case = type("Case", (testtools.TestCase,), {"runTest": test})
        with mock.patch.object(intended, "changes_of", lambda _case: changes):
            ours = replaced.subclass(
                case, replaced.Replaced(f"{__name__}.Driver", Ours), __name__
            )
        result = testtools.TestResult()
        ours("runTest").run(result)
        self.assertEqual(1, result.testsRun)
        return result

    def test_ours_stands_for_novas(self) -> None:
        result = self.run_with_ours(lambda self: self.assertIs(Ours, Driver))
        self.assertTrue(result.wasSuccessful(), result.failures)
        self.assertIs(Novas, Driver)

    def test_an_intended_failure_is_expected(self) -> None:
        result = self.run_with_ours(asserts_novas, difference("ours"))
        self.assertTrue(result.wasSuccessful(), result.failures)
        self.assertEqual(1, len(result.expectedFailures))

    def test_one_is_known_by_its_cause(self) -> None:
        def test(_self: Any) -> None:
            try:
                raise ValueError("deep inside")
            except ValueError as exc:
                raise RuntimeError("outside") from exc

        result = self.run_with_ours(test, difference("^deep inside$"))
        self.assertEqual(1, len(result.expectedFailures))

    def test_another_failure_is_an_error(self) -> None:
        result = self.run_with_ours(asserts_novas, difference("no such text"))
        self.assertFalse(result.wasSuccessful())
        self.assertIn("OtherFailure", result.errors[0][1])

    def test_an_unlisted_failure_is_one(self) -> None:
        result = self.run_with_ours(asserts_novas)
        self.assertEqual(1, len(result.failures))

    def test_an_unexpected_pass_is_no_success(self) -> None:
        result = self.run_with_ours(lambda _self: None, difference("ours"))
        self.assertEqual(1, len(result.unexpectedSuccesses))
        self.assertFalse(result.wasSuccessful())

    def test_our_class_is_as_it_was(self) -> None:
        def test(self: Any) -> None:
            for name in ("rescue", "helper"):
                patch = fixtures.MonkeyPatch(f"{__name__}.Driver.{name}", print)
                self.useFixture(patch)

        before = dict(vars(Ours))
        result = self.run_with_ours(test)
        self.assertTrue(result.wasSuccessful(), result.errors)
        self.assertEqual(before, dict(vars(Ours)))

    def test_a_static_method_is_replaced_by_one(self) -> None:
        def test(self: Any) -> None:
            with mock.patch.object(Driver, "helper", autospec=True) as helper:
                Driver().helper("value")
            helper.assert_called_once_with("value")

        result = self.run_with_ours(test)
        self.assertTrue(result.wasSuccessful(), result.errors)


def asserts_novas(self: Any) -> None:
    """Assert what Nova's driver does, and ours does not."""
    self.assertEqual("Nova's", Driver().rescue())
