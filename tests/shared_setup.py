# SPDX-License-Identifier: Apache-2.0
"""One set-up for all tests of a class: each test runs in a fork of the process.

Nova's services take longer to start than most tests take to run. The set-up is done
once. The threads of the services are then stopped, because a fork has no threads, and
started again in each fork. A test cannot change anything for another one: what it
changes in memory ends with its process, and the temporary files are restored.
"""

import contextlib
import gc
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import fixtures
import subunit
import testtools
from futurist._thread import ThreadWorker
from nova import conf as nova_conf
from nova import context, service
from nova.db.api import api as api_database
from nova.db.main import api as main_database
from placement import db_api as placement_database
from testtools.testcase import gather_details

from stable_rescue import conf
from tests import release

#: How long to wait for threads that end. Most end within a second, but not on a busy
#: machine.
_ENDING_SECONDS = 120


def stop_timers(case: Any) -> None:
    """Let nothing happen by itself: no heartbeat, no periodic task, no boot watch.

    Call this before a test case of Nova is set up. A fork has no threads that work from
    time to time. Also, a heartbeat while a database is restored fails, and the
    restoration with it.
    """
    case.flags(report_interval=0, periodic_enable=False, service_down_time=86_400)
    conf.register_opts(nova_conf.CONF)
    case.flags(verify_timeout=0, group="stable_rescue")


class SharedSetUpMixin:
    """Makes the tests of a class share its set-up, if the class has several tests.

    Put it before Nova's test case in the list of bases. With eventlet, which Nova uses
    up to release 33, nothing is shared.
    """

    _prepared: ClassVar["Prepared | None"] = None
    #: False for a class whose set-up changes more than a fork and its temporary files.
    can_share: ClassVar[bool] = True

    def run(self, result: Any = None) -> Any:
        if result is None or not _can_fork(type(self)):
            return super().run(result)
        if "_prepared" not in type(self).__dict__:
            self._prepare()
        prepared = type(self)._prepared
        if prepared is None:
            # If the set-up has failed, each test reports that.
            return super().run(result)
        prepared.run(self._testMethodName, result)
        return result

    @classmethod
    def warm_up(cls) -> None:
        """Fill caches before the forks, because what a fork adds ends with it."""

    def pause(self) -> None:
        """Stop what the set-up has started besides Nova's services."""

    def resume(self) -> None:
        """Start again what `pause` has stopped."""

    def _prepare(self) -> None:
        """Do the set-up of the class, if it can be shared; a clean-up ends it."""
        cls = type(self)
        cls.warm_up()
        prepared = Prepared(cls(self._testMethodName))
        cls._prepared = prepared if prepared.set_up() else None
        cls.addClassCleanup(delattr, cls, "_prepared")
        if cls._prepared is not None:
            cls.addClassCleanup(prepared.end)


def _can_fork(case: type[unittest.TestCase]) -> bool:
    """Return True if a test case has several tests, and Nova uses native threads."""
    tests = unittest.defaultTestLoader.getTestCaseNames(case)
    return case.can_share and len(tests) > 1 and release.has_native_threads()


def _wait_for_threads() -> None:
    """Wait until this process has no other thread.

    An idle thread of a pool notices its end within a second (tests/wakeups.py). A pool
    may have to be found by the garbage collector before it ends.

    :raises AssertionError: if other threads go on
    """
    deadline = time.monotonic() + _ENDING_SECONDS
    current = threading.current_thread()
    while others := [each for each in threading.enumerate() if each is not current]:
        if time.monotonic() > deadline:
            raise AssertionError(f"threads would be lost in a fork: {others}")
        others[0].join(2)
        if others[0].is_alive():
            gc.collect()


def _reset_pools() -> None:
    """End the pools that Nova shares in a process; the next use makes new ones."""
    # Older releases do not have it.
    from nova import thread_pool_factory

    thread_pool_factory.reset_all_executors()


def _stop_idle_pools() -> None:
    """Stop the idle threads that earlier tests have left.

    The garbage collector does not find a pool that the traceback of an error refers to.
    """
    _reset_pools()
    for thread in threading.enumerate():
        if isinstance(thread, ThreadWorker) and thread.idle:
            thread.stop()


def _open_sockets() -> set[str]:
    """Return the names of the sockets that this process has open."""
    names = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            names.add(str(link.readlink()))
    return {name for name in names if name.startswith("socket:")}


class Prepared:
    """A test case that has been set up, and whose threads are stopped."""

    def __init__(self, case: Any) -> None:
        self._case = case
        self._folders = fixtures.NestedTempfile()
        self._seconds = 0

    def set_up(self) -> bool:
        """Set the test case up; return False if that fails or cannot be shared."""
        sockets = _open_sockets()
        _stop_idle_pools()
        self._folders.setUp()
        self._files = Path(tempfile.gettempdir())
        self._saved = self._files.with_name(f"{self._files.name}-saved")
        try:
            self._case.setUp()
            # The time that the set-up has left for the test.
            self._seconds = signal.alarm(0)
            self._stop_threads()
            if _open_sockets() - sockets:
                raise AssertionError("a test could not close a socket of this process")
        except Exception:  # noqa: BLE001 - each test does it again, and reports it
            with contextlib.suppress(Exception):
                self._clean_up()
            return False
        shutil.copytree(self._files, self._saved, symlinks=True)
        return True

    def run(self, test: str, result: Any) -> None:
        """Run a test in a fork of this process; add its result.

        Whatever goes wrong here is an error of the test: stestr does not notice that a
        worker has ended before it has run all its tests.
        """
        self._case._testMethodName = test
        try:
            self._run_in_fork(test, result)
        except Exception:  # noqa: BLE001 - it is reported
            testtools.ErrorHolder(self._case.id(), error=sys.exc_info()).run(result)

    def _run_in_fork(self, test: str, result: Any) -> None:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            self._run_in_child(write)
        os.close(write)
        with os.fdopen(read, "rb") as stream:
            if not stream.peek(1):
                raise AssertionError(f"the process of {test} has not begun it")
            # If the process dies later, the error is "lost connection".
            subunit.ProtocolTestCase(stream).run(result)
        os.waitpid(pid, 0)
        self._restore_files()

    def _restore_files(self) -> None:
        shutil.rmtree(self._files)
        shutil.copytree(self._saved, self._files, symlinks=True)

    def end(self) -> None:
        """Clean up after all tests of the class."""
        self._start_threads()
        self._clean_up()

    def _run_in_child(self, write: int) -> None:
        """Run the test and end the process, whatever happens."""
        # Objects of the parent are not looked at, as there are many.
        gc.freeze()
        try:
            with os.fdopen(write, "wb") as stream:
                cleanups, details = self._case._cleanups, self._case.getDetails()
                self._case.setUp = lambda: self._resume(cleanups, details)
                testtools.TestCase.run(self._case, subunit.TestProtocolClient(stream))
        except BaseException:  # noqa: BLE001 - it is printed, and the process ends
            traceback.print_exc(file=sys.__stderr__)
        finally:
            # What the parent has not flushed yet must not be printed twice.
            os._exit(0)

    def _resume(self, cleanups: list[Any], details: dict[str, Any]) -> None:
        """Go on where the set-up has ended: this is setUp in the child.

        Of the clean-ups of the set-up, only those are kept that collect logs.
        """
        case = self._case
        testtools.TestCase.setUp(case)
        signal.alarm(self._seconds)
        case.getDetails().update(details)
        for function, arguments, _ in cleanups:
            if function is gather_details:
                case.addCleanup(gather_details, arguments[0], case.getDetails())
        self._start_threads()

    def _clean_up(self) -> None:
        """Do the clean-ups of the set-up, and remove its files; errors propagate."""
        signal.alarm(0)
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, self._saved, ignore_errors=True)
            stack.callback(self._folders.cleanUp)
            for function, arguments, options in self._case._cleanups:
                stack.callback(function, *arguments, **options)

    def _stop_threads(self) -> None:
        self._case.pause()
        for server in self._rpc_servers():
            server.stop()
            server.wait()
        _reset_pools()
        for engine in self._engines():
            engine.dispose()
        _wait_for_threads()

    def _start_threads(self) -> None:
        self._case.resume()
        for server in self._rpc_servers():
            server.start()

    def _rpc_servers(self) -> Iterator[Any]:
        case = self._case
        services: list[service.Service] = [case.conductor, case.scheduler]
        for each in (*services, *case.computes.values()):
            yield from filter(None, (each.rpcserver, each.rpcserver_alt))

    def _engines(self) -> Iterator[Any]:
        """Yield the engines of all databases; no connection may be forked."""
        for cell in self._case.cell_mappings.values():
            with context.target_cell(context.get_admin_context(), cell) as targeted:
                yield main_database.get_context_manager(targeted).writer.get_engine()
        yield api_database.context_manager.writer.get_engine()
        yield placement_database.placement_context_manager.writer.get_engine()
