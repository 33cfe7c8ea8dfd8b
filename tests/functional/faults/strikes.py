# SPDX-License-Identifier: Apache-2.0
"""The faults of functional tests: nova-compute runs in the test's own process.

A kill is modeled: after the place at which it strikes, no step runs, not even clean-up.
nova-compute is then started again.
"""

import errno
from collections.abc import Callable, Mapping
from typing import Any

import fixtures
from nova.tests.fixtures import libvirt as fakelibvirt

from stable_rescue import steps
from tests.faults.engine import Fault, Injection, StepFails, StepFailsLate
from tests.faults.places import Place


class Killed(BaseException):
    """nova-compute is killed. Not an Exception, so that no handler catches it."""


class Kill(Fault):
    """SIGKILL: no further step is done, clean-up included."""

    def strike(self, point: str) -> None:
        raise Killed(point)

    def after_strike(self, point: str) -> None:
        raise Killed(point)


class DiskFull(Fault):
    """Every step that writes fails from now on; those that remove files still work."""

    _WRITES_NOTHING = (
        *("remove", "power off", "plug", "disconnect", "connect"),
        *("pause the guest", "resume the guest"),
    )

    def strike(self, point: str) -> None:
        self.after_strike(point)

    def after_strike(self, point: str) -> None:
        when, _, step = point.partition(" ")
        if when != "after" and not step.startswith(self._WRITES_NOTHING):
            raise OSError(errno.ENOSPC, "No space left on device", "/var/lib/nova/x")


class LibvirtLost(Fault):
    """libvirt answers no call from now on; steps that do not need it work."""

    def strike(self, point: str) -> None:
        """Do nothing here: LibvirtFixture makes the calls fail."""


FAULTS: dict[str, type[Fault]] = {
    "exception": StepFails,
    "late exception": StepFailsLate,
    "SIGKILL": Kill,
    "disk full": DiskFull,
    "libvirt lost": LibvirtLost,
}


class Watch(Injection):
    """Also notes in ``seen`` what a function returns at each place."""

    def __init__(self, faults: Mapping[Place, Fault], look: Callable[[], Any]) -> None:
        super().__init__(faults)
        self._look = look
        self.seen: dict[Place, Any] = {}

    def note(self, place: Place) -> None:
        super().note(place)
        self.seen[place] = self._look()


class InjectionFixture(fixtures.Fixture):
    """Observes the steps of nova-compute, and makes faults strike while it is armed."""

    def _setUp(self) -> None:
        self._injection = Injection()
        self.addCleanup(setattr, steps, "observe", steps.observe)
        steps.observe = lambda point: self._injection.observe(point)
        self.useFixture(LibvirtFixture(self._is_libvirt_lost))

    def arm(self, faults: Mapping[Place, Fault] | None = None) -> None:
        """Begin to observe, and make faults strike at their places."""
        self.observe_with(Injection(faults))

    def observe_with(self, injection: Injection) -> None:
        """Begin to observe with an injection that decides itself when to strike."""
        self._injection = injection

    def disarm(self) -> list[Place]:
        """End all faults, and return the places reached since arm, in order."""
        reached = self._injection.reached
        self._injection = Injection()
        return reached

    def _is_libvirt_lost(self) -> bool:
        return any(isinstance(fault, LibvirtLost) for fault in self._injection.struck)


class LibvirtFixture(fixtures.Fixture):
    """Makes Nova's libvirt fixture fail each call while libvirt is lost."""

    _CALLS = (
        "Connection.defineXML",
        "Connection.listAllDomains",
        "Connection.lookupByUUIDString",
        "Connection.secretDefineXML",
        "Connection.secretLookupByUsage",
        "Domain.ID",
        "Domain.XMLDesc",
        "Domain.coreDumpWithFormat",
        "Domain.createWithFlags",
        "Domain.destroy",
        "Domain.info",
        "Domain.isActive",
        "Domain.isPersistent",
        "Domain.jobInfo",
        "Domain.resume",
        "Domain.shutdown",
        "Domain.state",
        "Domain.suspend",
        "Domain.undefineFlags",
    )

    def __init__(self, is_lost: Callable[[], bool]) -> None:
        super().__init__()
        self._is_lost = is_lost

    def _setUp(self) -> None:
        for name in self._CALLS:
            owner, _, method = name.partition(".")
            # Only the rows with memory dumps have all of them.
            function = getattr(getattr(fakelibvirt, owner), method, None)
            if function is None:
                continue
            self.useFixture(
                fixtures.MonkeyPatch(
                    f"nova.tests.fixtures.libvirt.{name}", self._unless_lost(function)
                )
            )

    def _unless_lost(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if self._is_lost():
                raise fakelibvirt.make_libvirtError(
                    fakelibvirt.libvirtError,
                    "client socket is closed",
                    error_code=fakelibvirt.VIR_ERR_INTERNAL_ERROR,
                )
            return function(*args, **options)

        return call
