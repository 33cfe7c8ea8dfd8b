# SPDX-License-Identifier: Apache-2.0

"""Run Nova's unit tests with a class of stable rescue in place of Nova's class.

A test case of Nova is subclassed and never copied. A test with an intended difference
(``tests.nova.intended``) must fail with the given failure.
"""

import functools
import importlib
import inspect
import re
import sys
import unittest
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import fixtures
from oslo_utils import importutils

from tests.nova import intended


class Substitution(fixtures.Fixture):
    """Makes the name of Nova's class stand for a substitute, a subclass of it.

    What a test changes in the substitute is reverted when the test ends.

    :param name: Nova's class, "nova.virt.libvirt.driver.LibvirtDriver"
    """

    def __init__(self, name: str, substitute: type) -> None:
        self.name = name
        self.substitute = substitute

    def _setUp(self) -> None:
        self.addCleanup(self._restore, dict(vars(self.substitute)))
        self.substitute.__init__ = self._initializer(
            importutils.import_class(self.name)
        )
        self.useFixture(fixtures.MonkeyPatch(self.name, self.substitute))
        # mock replaces an inherited static method by a function that takes `self`, so
        # the substitute has to define it.
        for base in self.substitute.__mro__[1:]:
            for name, value in vars(base).items():
                if isinstance(value, staticmethod) and name not in vars(
                    self.substitute
                ):
                    setattr(self.substitute, name, value)

    def _initializer(self, nova_class: type) -> Callable[..., None]:
        """Return the __init__ of the substitute, with Nova's class under its name.

        Nova's __init__ calls its base by ``super(LibvirtDriver, self)``.
        """
        original = self.substitute.__init__

        @functools.wraps(original)
        def initialize(driver: Any, *args: Any, **options: Any) -> None:
            with mock.patch(self.name, nova_class):
                original(driver, *args, **options)

        return initialize

    def _restore(self, attributes: dict[str, Any]) -> None:
        """Give the substitute the attributes it had, and only those.

        When a patch of an inherited attribute ends, it leaves the attribute in the
        substitute itself.
        """
        for name in vars(self.substitute).keys() - attributes.keys():
            delattr(self.substitute, name)
        for name, value in attributes.items():
            if vars(self.substitute).get(name) is not value:
                setattr(self.substitute, name, value)


def cases(
    nova_module: str,
    class_name: str,
    substitute: type,
    module: str,
    test_pattern: str = "",
) -> dict[str, type]:
    """Return the test cases of a module of Nova's tests, by name.

    :param class_name: the class to replace, "nova.virt.libvirt.driver.LibvirtDriver"
    :param substitute: the class in its place; class bodies and decorators of Nova's
        module see it too
    :param module: the module that the returned test cases belong to
    :param test_pattern: a regular expression; other tests do not run
    :raises ImportError: if Nova's module has already been imported, because it then has
        Nova's class
    """
    if nova_module in sys.modules:
        raise ImportError(f"{nova_module} is already imported with Nova's {class_name}")
    with mock.patch(class_name, substitute):
        imported = importlib.import_module(nova_module)
    return {
        name: subclass(case, Substitution(class_name, substitute), module, test_pattern)
        for name, case in vars(imported).items()
        if inspect.isclass(case)
        and issubclass(case, unittest.TestCase)
        and case.__module__ == nova_module
    }


def subclass(
    nova_case: type, substitution: Substitution, module: str, test_pattern: str = ""
) -> type:
    """Return a subclass of a test case of Nova that uses a substitution."""

    def set_up(self: Any) -> None:
        self.useFixture(substitution)
        super(case, self).setUp()

    name = f"{nova_case.__module__}.{nova_case.__qualname__}"
    body: dict[str, Any] = {"__module__": module, "__doc__": name, "setUp": set_up}
    for test_name in unittest.defaultTestLoader.getTestCaseNames(nova_case):
        if not re.search(test_pattern, test_name):
            body[test_name] = None
    for difference in intended.differences_of(name):
        # test_intended fails if the test does not exist.
        if test := getattr(nova_case, difference.method, None):
            body[difference.method] = expect_failure(test, difference)
    case = type(nova_case.__name__, (nova_case,), body)
    return case


def expect_failure(
    test: Callable[[Any], None], difference: intended.Difference
) -> Callable[[Any], None]:
    """Return a test that is an expected failure if ``test`` fails as intended.

    Another failure is an error. If ``test`` passes, that is an unexpected success.
    """

    @functools.wraps(test)
    def expecting_test(self: Any) -> None:
        def run() -> None:
            try:
                test(self)
            except Exception as exc:
                causes = [str(cause) for cause in chain(exc)]
                if any(re.search(difference.failure, cause) for cause in causes):
                    raise self.failureException(str(exc)) from exc
                raise UnintendedFailure(
                    f"expected {difference.failure!r}, got: {exc}"
                ) from exc

        self.expectFailure(f"{difference.number}: {difference.reason}", run)

    return expecting_test


def chain(exc: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception, its cause, the cause of that, and so on."""
    while exc:
        yield exc
        exc = exc.__cause__ or exc.__context__


class UnintendedFailure(Exception):
    """A test with an intended difference fails for another reason."""
