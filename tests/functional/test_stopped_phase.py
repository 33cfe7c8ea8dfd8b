# SPDX-License-Identifier: Apache-2.0
"""While a guest is off, nothing is done that can take long, or wait for somebody."""

import os
import subprocess
import threading
from collections.abc import Callable
from typing import Any

import fixtures
from keystoneauth1 import session as keystone_session
from nova.tests import fixtures as nova_fixtures
from nova.tests.fixtures import libvirt
from oslo_concurrency import processutils
from oslo_messaging._drivers import impl_fake
from sqlalchemy.engine import Connection

from tests.functional.server import ServerTestBase
from tests.functional.volumes import VolumesTestBase

#: What may take long or hang: by owner, the names of the functions. Nova's fixture
#: stands for Neutron.
SLOW: dict[Any, tuple[str, ...]] = {
    impl_fake.FakeDriver: ("send",),
    nova_fixtures.NeutronFixture: ("list_ports", "show_port"),
    keystone_session.Session: ("request",),
    Connection: ("execute",),
    processutils: ("execute",),
    subprocess.Popen: ("__init__",),
    os: ("fsync",),
}


class StoppedPhaseFixture(fixtures.Fixture):
    """Notes the slow calls between the stop and the start of a guest.

    These are the calls of the thread that works on the guest, and of the thread that
    writes the events of the action. ``calls`` has a list for each stopped phase.
    """

    def _setUp(self) -> None:
        self.calls: list[list[str]] = []
        self._thread: int | None = None
        for owner, names in SLOW.items():
            for name in names:
                self._replace(owner, name, self._noting)
        for name in ("shutdown", "destroy"):
            self._replace(libvirt.Domain, name, self._stopping)
        self._replace(libvirt.Domain, "createWithFlags", self._starting)
        self._replace(libvirt.Domain, "create", self._starting)

    def _replace(
        self, owner: Any, name: str, wrapped: Callable[[str, Any], Any]
    ) -> None:
        original = getattr(owner, name)
        label = f"{getattr(owner, '__name__', owner)}.{name}"
        setattr(owner, name, wrapped(label, original))
        self.addCleanup(setattr, owner, name, original)

    def _noting(self, label: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*args: Any, **options: Any) -> Any:
            if self._is_noted(threading.current_thread()):
                self.calls[-1].append(label)
            return original(*args, **options)

        return noting

    def _is_noted(self, thread: threading.Thread) -> bool:
        return self._thread is not None and (
            thread.ident == self._thread or thread.name == "stable-rescue-events"
        )

    def _stopping(self, _label: str, stop: Callable[..., Any]) -> Callable[..., Any]:
        def stopping(domain: Any, *args: Any) -> Any:
            was_active = domain.isActive()
            answer = stop(domain, *args)
            if was_active and not domain.isActive():
                self.calls.append([])
                self._thread = threading.get_ident()
            return answer

        return stopping

    def _starting(self, _label: str, start: Callable[..., Any]) -> Callable[..., Any]:
        def starting(*args: Any) -> Any:
            self._thread = None
            return start(*args)

        return starting


class StoppedPhaseChecks:
    """The calls in the stopped phases of a rescue and an unrescue."""

    def test_nothing_slow_happens_while_the_guest_is_off(self) -> None:
        phases = self.useFixture(StoppedPhaseFixture())
        self.rescue_server()
        self.assertEqual([[]], phases.calls)
        self.unrescue_server()
        self.assertEqual([[], []], phases.calls)

    def test_slow_call_is_noticed(self) -> None:
        """The fixture can see."""
        phases = self.useFixture(StoppedPhaseFixture())
        power_off = self.driver.power_off

        def power_off_slowly(*args: Any) -> None:
            power_off(*args)
            self.instance()

        self.useFixture(
            fixtures.MockPatchObject(self.driver, "power_off", power_off_slowly)
        )
        self.rescue_server()
        [calls] = phases.calls
        self.assertIn("Connection.execute", calls)


class StoppedPhaseTest(StoppedPhaseChecks, ServerTestBase):
    """A server with a local disk."""


class StoppedPhaseWithVolumesTest(StoppedPhaseChecks, VolumesTestBase):
    """A server with volumes, whose sources are compared after the shutdown."""
