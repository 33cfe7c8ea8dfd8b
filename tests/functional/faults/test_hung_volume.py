# SPDX-License-Identifier: Apache-2.0
"""The storage of a volume hangs, so that no check of the volume returns.

nova-compute gives a check up after ``volume_check_timeout`` and refuses the rescue; the
server is unchanged. Once the storage answers, what was interrupted is recovered.
"""

import re
from collections.abc import Mapping
from concurrent import futures
from types import SimpleNamespace
from typing import Any, ClassVar

import fixtures
from nova import conf as nova_conf
from nova.compute import vm_states

from stable_rescue.storage import deadline
from tests.faults.engine import Fault, Injection
from tests.faults.places import Place
from tests.functional.faults.base import RowTestBase
from tests.functional.faults.snapshot import FromModelSnapshot
from tests.functional.faults.strikes import Watch
from tests.functional.volumes import VOLUMES, VolumesTestBase

CONF = nova_conf.CONF

_STARTING = ("before start a domain", 1)
_RESCUE = {
    "action": "rescue",
    "running": True,
    "refused": vm_states.ACTIVE,
    "is_host_booted": False,
    "killed_at": None,
}
_UNRESCUE = _RESCUE | {"action": "unrescue", "refused": vm_states.ERROR}
_BOOTED = {"is_host_booted": True}
_ROWS = (
    _RESCUE,
    _UNRESCUE | _BOOTED,
    _RESCUE | _BOOTED | {"killed_at": _STARTING},
    _UNRESCUE | _BOOTED | {"killed_at": _STARTING},
    _RESCUE | _BOOTED | {"running": False, "refused": vm_states.STOPPED},
)


class Hang(fixtures.Fixture):
    """Lets checks hang, and lets the time until they are given up pass at once."""

    def _setUp(self) -> None:
        self.begin()
        self.addCleanup(self.end)
        self.useFixture(
            fixtures.MonkeyPatch(
                "stable_rescue.storage.deadline.futures",
                SimpleNamespace(wait=self._wait),
            )
        )

    def begin(self) -> None:
        """Begin with a storage that answers."""
        self.is_hanging = False
        self.checks = 0
        #: False if nova-compute has waited for a check that hung.
        self.is_given_up = True
        self._hung: futures.Future[None] = futures.Future()
        self._resumed: futures.Future[None] = futures.Future()

    def end(self) -> None:
        """Let the storage answer again, and wait for the check that hung."""
        self.is_hanging = False
        if not self._resumed.done():
            self._resumed.set_result(None)
        futures.wait(list(deadline._hung.values()), 60)
        self._hung = futures.Future()

    def answer(self) -> None:
        """Answer a check, but not while the storage hangs."""
        self.checks += 1
        if self.is_hanging:
            self._hung.set_result(None)
            self.is_given_up = bool(futures.wait([self._resumed], 60).done)

    def _wait(self, checks: list["futures.Future[Any]"], limit: float) -> None:
        assert limit == CONF.stable_rescue.volume_check_timeout
        futures.wait([*checks, self._hung], 60, futures.FIRST_COMPLETED)


class VolumeHangs(Fault):
    """No check of a volume returns from now on."""

    survivable = True

    def __init__(self, hang: Hang) -> None:
        self._hang = hang

    def strike(self, point: str) -> None:
        self._hang.is_hanging = True


class HungVolumeTest(FromModelSnapshot, VolumesTestBase, RowTestBase):
    """Each fault strikes before the last check of the action; later, none hangs."""

    running = True
    volumes = VOLUMES[:1]
    faults = {"volume hangs": VolumeHangs}
    #: The state after a refusal. While the volume hangs, the rescue system cannot start
    #: either: the server is in ERROR until its storage answers.
    refused: ClassVar[str]
    #: Whether the host is booted before the action: the guest is off then.
    is_host_booted: ClassVar[bool]

    def setUp(self) -> None:
        super().setUp()
        self.folders = (self.storage.folder,)
        self.hang = self.useFixture(Hang())
        self.storage.answer = self.hang.answer

    def row(self) -> str:
        what = super().row()
        if self.killed_at is not None:
            what = f"recovery of {what}"
        return f"{what}{', host booted' * self.is_host_booted}, hung volume"

    def begin(self) -> None:
        self.hang.begin()
        super().begin()
        self.hang.checks = 0

    def get_ready(self) -> None:
        if not self.running:
            self._stop_server(self.server)
        self.note_original()
        super().get_ready()
        self.kill_in_action()
        if self.is_host_booted:
            if self.domain().isActive():
                self.domain().destroy()
            self.storage.reboot()
        self.is_on = bool(self.domain().isActive())

    def new_fault(self, name: str) -> Fault:
        return VolumeHangs(self.hang)

    def new_injection(self, faults: Mapping[Place, Fault]) -> Injection:
        self.watch = Watch(faults, lambda: self.hang.checks)
        return self.watch

    def places(self) -> list[Place]:
        reached = super().places()
        return [place for place in reached if self.watch.seen[place] < self.all_checks]

    def perform(self, faults: Mapping[Place, Fault]) -> list[Place]:
        reached = super().perform(faults)
        if not faults:
            self.all_checks = self.hang.checks
            return reached
        if self.killed_at is None:
            self.assertIn("did not answer", self.reasons())
            self.assertEqual((self.refused, None), self.nova_state()[:2])
        self.assertEqual(self.is_on, bool(self.domain().isActive()))
        self.hang.end()
        self.recover_stalled()
        self.assert_recovered(self.running)
        self.assertTrue(self.hang.is_given_up)
        return reached

    def reasons(self) -> str:
        """Return why the action failed: the user's text, and what the log has."""
        reasons, error = [], self.error
        while error is not None:
            reasons.append(str(error))
            error = error.__cause__
        return "; ".join(reasons)

    def comparable(self, definition: str) -> str:
        """Leave out what a boot of the host changes: the devices' names."""
        return re.sub(r"/boot\d+/", "/boot/", definition)

    def test_server_with_a_volume_that_hangs_stays_as_it_was(self) -> None:
        self.strike_rows(*_ROWS)
