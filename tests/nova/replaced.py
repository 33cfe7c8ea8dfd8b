# SPDX-License-Identifier: Apache-2.0

"""Nova's unit tests, with our class where they ask for Nova's.

Nova's test cases are subclassed, never copied. A test that we change on purpose has to
fail, in the way that ``tests.nova.intended`` tells.
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


class Replaced(fixtures.Fixture):
    """Have Nova's name stand for our class, and our class stay as it is."""

    def __init__(self, name: str, ours: type) -> None:
        self.name = name
        self.ours = ours

    def _setUp(self) -> None:
        self.addCleanup(self.restore, dict(vars(self.ours)))
        self.ours.__init__ = self.initialiser(importutils.import_class(self.name))
        self.useFixture(fixtures.MonkeyPatch(self.name, self.ours))
        # What replaces a static method takes a `self` where the method is inherited.
        for base in self.ours.__mro__[1:]:
            for name, value in vars(base).items():
                if isinstance(value, staticmethod) and name not in vars(self.ours):
                    setattr(self.ours, name, value)

    def initialiser(self, novas: type) -> Callable[..., None]:
        """Return our __init__, in which Nova's name stands for Nova's own class.

        There Nova's class calls its base by ``super(LibvirtDriver, self)``.
        """
        initialise = self.ours.__init__

        @functools.wraps(initialise)
        def ours(driver: Any, *args: Any, **options: Any) -> None:
            with mock.patch(self.name, novas):
                initialise(driver, *args, **options)

        return ours

    def restore(self, own: dict[str, Any]) -> None:
        """Put our class back: what was inherited, a test puts back as our own."""
        for name in vars(self.ours).keys() - own.keys():
            delattr(self.ours, name)
        for name, value in own.items():
            if vars(self.ours).get(name) is not value:
                setattr(self.ours, name, value)


def cases(
    module: str, name: str, ours: type, home: str, only: str = ""
) -> dict[str, type]:
    """Return the test cases of one of Nova's modules, by their names.

    :param name: the class that is replaced, "nova.virt.libvirt.driver.LibvirtDriver"
    :param ours: the class in its place, also where a class body or a decorator of
        Nova's module names it
    :param home: the module that the test cases are to belong to
    :param only: a regular expression found in the names of the tests that are run
    :raises ImportError: where the module has been imported without our class
    """
    if module in sys.modules:
        raise ImportError(f"{module} is imported already, with Nova's {name}")
    with mock.patch(name, ours):
        novas = importlib.import_module(module)
    return {
        case_name: subclass(case, Replaced(name, ours), home, only)
        for case_name, case in vars(novas).items()
        if inspect.isclass(case)
        and issubclass(case, unittest.TestCase)
        and case.__module__ == module
    }


def subclass(case: type, replaced: Replaced, home: str, only: str = "") -> type:
    """Return a test case of Nova's with our class."""

    def set_up(self: Any) -> None:
        self.useFixture(replaced)
        super(ours, self).setUp()

    name = f"{case.__module__}.{case.__qualname__}"
    body: dict[str, Any] = {"__module__": home, "__doc__": name, "setUp": set_up}
    for test_name in unittest.defaultTestLoader.getTestCaseNames(case):
        if not re.search(only, test_name):
            body[test_name] = None
    for change in intended.changes_of(name):
        # Without it test_intended fails.
        if test := getattr(case, change.method, None):
            body[change.method] = failing(test, change)
    ours = type(case.__name__, (case,), body)
    return ours


def failing(test: Callable[[Any], None], change: intended.Change) -> Any:
    """Return a test that fails as it is meant to: an expected failure.

    Another failure is an error, and to pass is an unexpected success.
    """

    @functools.wraps(test)
    def expected(self: Any) -> None:
        def original() -> None:
            try:
                test(self)
            except Exception as exc:
                if any(re.search(change.failure, str(each)) for each in chain(exc)):
                    raise self.failureException(str(exc)) from exc
                raise OtherFailure(f"not {change.failure!r}: {exc}") from exc

        self.expectFailure(f"{change.requirement}: {change.reason}", original)

    return expected


def chain(exc: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception, what caused it, and so on."""
    while exc:
        yield exc
        exc = exc.__cause__ or exc.__context__


class OtherFailure(Exception):
    """A test that we change on purpose fails for another reason."""
