# SPDX-License-Identifier: Apache-2.0
"""Faults that strike at a point of a rescue."""

import abc
import errno
from collections import Counter
from collections.abc import Callable
from typing import Any

import fixtures
from nova.tests.fixtures import libvirt as fakelibvirt

from stable_rescue import steps
from tests.tally import Place


class Killed(BaseException):
    """The process is gone: no handler of ours or Nova's may take it for an error."""


class Fault(abc.ABC):
    """One kind of fault; it knows the place where it is to strike."""

    def __init__(self) -> None:
        self.struck = False

    @abc.abstractmethod
    def strike(self, point: str) -> None:
        """Do it, at its place."""

    def go_on(self, point: str) -> None:  # noqa: B027 - most faults strike once
        """What happens at each later point."""

    @classmethod
    def wants(cls, point: str, last: bool) -> bool:
        """Say whether it makes a difference to strike there."""
        return not point.startswith("after ") or last


class Error(Fault):
    """A step fails before it does its work; all else works."""

    def strike(self, point: str) -> None:
        raise RuntimeError(f"fault {point}")


class LateError(Error):
    """A step fails when it has done its work: its answer was lost, say."""

    @classmethod
    def wants(cls, point: str, last: bool) -> bool:
        return point.startswith("after ")


class Kill(Fault):
    """SIGKILL: not one step more, clean-up included."""

    def strike(self, point: str) -> None:
        raise Killed(point)

    def go_on(self, point: str) -> None:
        raise Killed(point)


class DiskFull(Fault):
    """Whatever writes fails from now on; what removes still works."""

    _FREE = ("remove", "power off", "plug", "disconnect", "connect")

    def strike(self, point: str) -> None:
        self.go_on(point)

    def go_on(self, point: str) -> None:
        when, _, name = point.partition(" ")
        if when != "after" and not name.startswith(self._FREE):
            raise OSError(errno.ENOSPC, "No space left on device", "/var/lib/nova/x")


class LibvirtLost(Fault):
    """Libvirt answers nothing from now on."""

    def strike(self, point: str) -> None:
        """Nothing fails that does not need libvirt."""


class LibvirtFixture(fixtures.Fixture):
    """Lets Nova's libvirt be lost while told so."""

    def __init__(self, lost: Callable[[], bool]) -> None:
        super().__init__()
        self._lost = lost

    def _setUp(self) -> None:
        for owner, names in (
            (
                "Connection",
                (
                    "defineXML",
                    "listAllDomains",
                    "lookupByUUIDString",
                    "secretDefineXML",
                    "secretLookupByUsage",
                ),
            ),
            (
                "Domain",
                (
                    "ID",
                    "XMLDesc",
                    "createWithFlags",
                    "destroy",
                    "info",
                    "isActive",
                    "isPersistent",
                    "shutdown",
                    "undefineFlags",
                ),
            ),
        ):
            for name in names:
                function = getattr(getattr(fakelibvirt, owner), name)
                self.useFixture(
                    fixtures.MonkeyPatch(
                        f"nova.tests.fixtures.libvirt.{owner}.{name}",
                        self._unless_lost(function),
                    )
                )

    def _unless_lost(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if self._lost():
                raise fakelibvirt.make_libvirtError(
                    fakelibvirt.libvirtError,
                    "client socket is closed",
                    error_code=fakelibvirt.VIR_ERR_INTERNAL_ERROR,
                )
            return function(*args, **options)

        return call


class Injection(fixtures.Fixture):
    """Watches the points that are reached, and lets a fault strike at one."""

    def __init__(self) -> None:
        super().__init__()
        self._clear()

    def _clear(self) -> None:
        self._seen: Counter[str] = Counter()
        self._places: list[Place] = []
        self._place: Place | None = None
        self._fault: Fault | None = None
        self._fails: Place | None = None

    def _setUp(self) -> None:
        self.addCleanup(setattr, steps, "observe", steps.observe)
        steps.observe = self._observe
        self.useFixture(LibvirtFixture(self._is_lost))

    def arm(
        self,
        fault: Fault | None = None,
        place: Place | None = None,
        fails: Place | None = None,
    ) -> None:
        """Begin to watch; the fault strikes at the place.

        :param fails: a place where a step fails, be there a fault or not
        """
        self._clear()
        self._fault, self._place, self._fails = fault, place, fails

    def disarm(self) -> list[Place]:
        """End the fault, and return each place that was reached, in order."""
        places = self._places
        self._clear()
        return places

    def _observe(self, point: str) -> None:
        self._seen[point] += 1
        place = point, self._seen[point]
        self._places.append(place)
        if place == self._fails:
            Error().strike(point)
        fault = self._fault
        if fault is None:
            return
        if fault.struck:
            fault.go_on(point)
        elif self._place == place:
            fault.struck = True
            fault.strike(point)

    def _is_lost(self) -> bool:
        return isinstance(self._fault, LibvirtLost) and self._fault.struck


FAULTS: dict[str, type[Fault]] = {
    "exception": Error,
    "late exception": LateError,
    "SIGKILL": Kill,
    "disk full": DiskFull,
    "libvirt lost": LibvirtLost,
}
