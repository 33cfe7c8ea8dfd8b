# SPDX-License-Identifier: Apache-2.0
"""What must hold of a recovered server: it is either restored or rescued."""

from typing import Any, NamedTuple

from nova.compute import power_state, vm_states

from stable_rescue.domain import recognize
from stable_rescue.domain.document import Domain


class NovaState(NamedTuple):
    """The state of a server in Nova's database."""

    vm_state: str
    task_state: str | None
    power_state: int


RESCUED = NovaState(vm_states.RESCUED, None, power_state.RUNNING)
_RUNNING = NovaState(vm_states.ACTIVE, None, power_state.RUNNING)
_STOPPED = NovaState(vm_states.STOPPED, None, power_state.SHUTDOWN)


class RecoveryAssertions:
    """Assertions for a test case that has one server.

    The test case sets ``before`` to what `observed` returned before the rescue.
    """

    before: dict[str, Any]

    def nova_state(self) -> NovaState:
        """Return the server's state in Nova's database."""
        raise NotImplementedError

    def live_definition(self) -> str:
        """Return the definition that libvirt runs."""
        raise NotImplementedError

    def observed(self) -> dict[str, Any]:
        """Return everything of the server that must be the same after a rescue.

        The value of "running" is True if the guest is on.
        """
        raise NotImplementedError

    def assert_original(self, running: bool = True) -> None:
        """Assert that the server is the same on its host as before the rescue."""
        self.assertEqual(self.before | {"running": running}, self.observed())

    def assert_restored(self, running: bool = True) -> None:
        """Assert that the server is the same as before the rescue, for Nova as well."""
        self.assertEqual(_RUNNING if running else _STOPPED, self.nova_state())
        self.assert_original(running)

    def assert_rescued(self) -> None:
        """Assert that the server runs its rescue system, for Nova as well."""
        self.assertEqual(RESCUED, self.nova_state())
        self.assert_rescue_runs()

    def assert_rescue_runs(self) -> None:
        """Assert that the guest is on and boots the rescue disk."""
        self.assertTrue(self.observed()["running"])
        domain = Domain.parse(self.live_definition())
        self.assertIsNotNone(recognize.rescue_disk(domain))

    def assert_recovered(self, running: bool) -> bool:
        """Assert that the server is rescued if Nova says so, and restored if not.

        :returns: True if the server is rescued
        """
        rescued = bool(self.nova_state().vm_state == vm_states.RESCUED)
        if rescued:
            self.assert_rescued()
        else:
            self.assert_restored(running)
        return rescued
