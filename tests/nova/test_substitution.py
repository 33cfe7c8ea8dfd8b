# SPDX-License-Identifier: Apache-2.0

"""The substitution of classes, and the verification of intended differences."""

from collections.abc import Callable
from typing import Any
from unittest import mock

import fixtures
import testtools

from tests.nova import intended, substitution


class NovaDriver:
    """Represents Nova's driver."""

    def rescue(self) -> str:
        """Return a word that differs in the substitute."""
        return "stock"

    @staticmethod
    def helper(value: str) -> str:
        """Return the argument."""
        return value


class Substitute(NovaDriver):
    """Represents StableRescueDriver."""

    def rescue(self) -> str:
        """Return a word that differs in Nova's driver."""
        return "stable"


#: The name that tests of Nova use.
Driver = NovaDriver


def difference(failure: str) -> intended.Difference:
    """Return an intended difference of the test that ``run_test`` runs."""
    return intended.Difference("U1", "case", "runTest", failure, "rescue")


def assert_stock(self: Any) -> None:
    """Fail with the substitute."""
    self.assertEqual("stock", Driver().rescue())


class TestSubstitution(testtools.TestCase):
    """A test case of Nova is subclassed and run, and nothing stays changed."""

    def run_test(
        self, test: Callable[[Any], None], *differences: intended.Difference
    ) -> testtools.TestResult:
        """Run a function as a test of Nova, with the substitute."""
        nova_case = type("Case", (testtools.TestCase,), {"runTest": test})
        with mock.patch.object(intended, "differences_of", lambda _case: differences):
            case = substitution.subclass(
                nova_case,
                substitution.Substitution(f"{__name__}.Driver", Substitute),
                __name__,
            )
        result = testtools.TestResult()
        case("runTest").run(result)
        self.assertEqual(1, result.testsRun)
        return result

    def test_name_stands_for_substitute_during_test_only(self) -> None:
        result = self.run_test(lambda self: self.assertIs(Substitute, Driver))
        self.assertTrue(result.wasSuccessful(), result.failures)
        self.assertIs(NovaDriver, Driver)

    def test_intended_failure_is_expected_failure(self) -> None:
        result = self.run_test(assert_stock, difference("stable"))
        self.assertTrue(result.wasSuccessful(), result.failures)
        self.assertEqual(1, len(result.expectedFailures))

    def test_failure_with_intended_cause_is_expected_failure(self) -> None:
        def test(_self: Any) -> None:
            try:
                raise ValueError("deep inside")
            except ValueError as exc:
                raise RuntimeError("outside") from exc

        result = self.run_test(test, difference("^deep inside$"))
        self.assertEqual(1, len(result.expectedFailures))

    def test_unintended_failure_is_error(self) -> None:
        result = self.run_test(assert_stock, difference("no such text"))
        self.assertFalse(result.wasSuccessful())
        self.assertIn("UnintendedFailure", result.errors[0][1])

    def test_failure_without_difference_is_failure(self) -> None:
        result = self.run_test(assert_stock)
        self.assertEqual(1, len(result.failures))

    def test_pass_with_difference_is_unexpected_success(self) -> None:
        result = self.run_test(lambda _self: None, difference("stable"))
        self.assertEqual(1, len(result.unexpectedSuccesses))
        self.assertFalse(result.wasSuccessful())

    def test_substitute_after_patches_has_same_attributes(self) -> None:
        def test(self: Any) -> None:
            for name in ("rescue", "helper"):
                patch = fixtures.MonkeyPatch(f"{__name__}.Driver.{name}", print)
                self.useFixture(patch)

        attributes = dict(vars(Substitute))
        result = self.run_test(test)
        self.assertTrue(result.wasSuccessful(), result.errors)
        self.assertEqual(attributes, dict(vars(Substitute)))

    def test_autospec_of_inherited_static_method_is_static(self) -> None:
        def test(self: Any) -> None:
            with mock.patch.object(Driver, "helper", autospec=True) as helper:
                Driver().helper("value")
            helper.assert_called_once_with("value")

        result = self.run_test(test)
        self.assertTrue(result.wasSuccessful(), result.errors)
