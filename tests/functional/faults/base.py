# SPDX-License-Identifier: Apache-2.0
"""Rows of the fault matrix with Nova's real services and Nova's libvirt fixture."""

import contextlib
import time
from collections.abc import Mapping
from typing import Any, ClassVar

import fixtures
from nova import objects
from nova.compute import api as compute_api
from nova.compute import vm_states
from oslo_utils import importutils

from tests.faults.engine import Fault, Injection, MatrixRow, StepFails
from tests.faults.places import Place, step_of
from tests.functional.faults.strikes import FAULTS, InjectionFixture, Kill, Killed
from tests.functional.server import ServerTestBase

TIMEOUT = 60  # seconds
#: What recovery needs of an instance, and what Nova's API loads.
ATTRIBUTES = ["flavor", "info_cache", "metadata", "numa_topology", "system_metadata"]
#: The state behind each status of the API, if the server has no task.
STATES = {
    "ACTIVE": vm_states.ACTIVE,
    "SHUTOFF": vm_states.STOPPED,
    "RESCUE": vm_states.RESCUED,
}


class FaultTestBase(ServerTestBase):
    """A server, and faults that strike in what nova-compute does with it."""

    # On a busy machine, the longest rows take more than the usual time. The alarm would
    # strike in nova-compute, and the row would take it for the error of a fault.
    TIMEOUT_SCALING_FACTOR = 12

    def setUp(self) -> None:
        super().setUp()
        self.compute_api = compute_api.API()
        # Nova's tests also send versioned notifications, which nobody reads here.
        self.flags(notification_format="unversioned", group="notifications")
        # No request is queued, so recovery need not wait for one.
        self.flags(stalled_after=0, group="stable_rescue")
        # How the last action ended, if it did not succeed.
        self.killed: Killed | None = None
        self.error: Exception | None = None
        for name in ("rescue_instance", "unrescue_instance"):
            self._call_in_this_thread(name)
        # Asking Placement for builds takes long, and there is none.
        self.useFixture(
            fixtures.MockPatch(
                "nova.compute.manager.ComputeManager."
                "_error_out_instances_whose_build_was_interrupted"
            )
        )
        self.injection = self.useFixture(InjectionFixture())

    def _call_in_this_thread(self, name: str) -> None:
        """Make the API call the manager in this thread, so that a kill ends it."""

        def call(_rpc: Any, context: Any, instance: Any, **args: Any) -> None:
            received = objects.Instance.obj_from_primitive(
                instance.obj_to_primitive(), context
            )
            try:
                getattr(self.manager, name)(context, instance=received, **args)
            except Killed as killed:
                self.killed = killed
            except Exception as error:  # noqa: BLE001 - a cast hides it from the API
                self.error = error

        self.useFixture(
            fixtures.MonkeyPatch(f"nova.compute.rpcapi.ComputeAPI.{name}", call)
        )

    def restart(self) -> None:
        """Start nova-compute again, as far as that concerns its instances.

        The manager and the driver are new. The service around them stays, because it
        takes long to stop.
        """
        service = self.computes["compute1"]
        connection = self.libvirt_connection()
        node = service.driver._host.get_node_uuid()
        manager_class = importutils.import_class(service.manager_class_name)
        service.manager = manager_class(host=service.host)
        service.driver = service.manager.driver
        # As in start_compute of Nova's tests.
        service.driver._host.get_connection = lambda: connection
        service.driver._host.get_node_uuid = lambda: node
        service.manager.init_host(service.service_ref)

    def recover_stalled(self) -> None:
        self.flags(stalled_after=120, group="stable_rescue")
        super().recover_stalled()
        self.flags(stalled_after=0, group="stable_rescue")

    def assert_status(self, status: str) -> None:
        """Wait for what the API shows as a status, in Nova's database."""
        deadline = time.monotonic() + TIMEOUT
        expected = (STATES[status], None)
        while (state := self.nova_state()[:2]) != expected:
            self.assertLess(time.monotonic(), deadline, state)
            time.sleep(0.1)

    def observed(self) -> dict[str, Any]:
        observed = super().observed()
        for name in ("live", "next"):
            observed[name] = self.comparable(observed[name])
        return observed

    def comparable(self, definition: str) -> str:
        """Return what must be the same in a definition after a rescue: all of it."""
        return definition

    def assert_rescue_runs(self) -> None:
        super().assert_rescue_runs()
        self.assert_original_saved()

    def assert_original_saved(self) -> None:
        """Assert that unrescue.xml holds the original definition."""
        saved = (self.folder(self.server) / "unrescue.xml").read_text()
        self.assertEqual(self.comparable(self.original), self.comparable(saved))

    def request(self, action: str) -> None:
        """Request an action. How it ended is in `killed` and `error`.

        The request is made as Nova's API makes it. HTTP, policies and schemas would
        take a third of the time of a request, and do not depend on faults.
        """
        self.killed = self.error = None
        instance = objects.Instance.get_by_uuid(
            self.context, self.server["id"], expected_attrs=ATTRIBUTES
        )
        if action == "rescue":
            self.compute_api.rescue(
                self.context,
                instance,
                rescue_password="password",
                rescue_image_ref=self.image,
                allow_bfv_rescue=True,
            )
        else:
            self.compute_api.unrescue(self.context, instance)


class RowTestBase(FaultTestBase, MatrixRow):
    """A row of the matrix with one server for all of its attempts."""

    faults = FAULTS
    #: The steps that no other row reaches.
    unique_steps: ClassVar[frozenset[str]] = frozenset()
    #: Further steps at which faults strike; None: all that the action reaches. The
    #: rows outside of test_matrix name the steps that their situation affects.
    other_steps: ClassVar[frozenset[str] | None] = None
    #: The place at which the action fails anyway: faults then strike in its rollback.
    fails_at: ClassVar[Place | None] = None
    #: The place of a kill in the action: faults then strike in the next start.
    killed_at: ClassVar[Place | None] = None

    def setUp(self) -> None:
        super().setUp()
        if not self.running:
            self._stop_server(self.server)
            self.note_original()

    def do(self, action: str) -> None:
        self.request(action)
        self.assertIsNone(self.error)
        restored = "ACTIVE" if self.running else "SHUTOFF"
        self.assert_status("RESCUE" if action == "rescue" else restored)

    def perform(self, faults: Mapping[Place, Fault]) -> list[Place]:
        injection = self.new_injection(self._expected_failure() | faults)
        self.injection.observe_with(injection)
        self.perform_action()
        return self.injection.disarm()

    def new_injection(self, faults: Mapping[Place, Fault]) -> Injection:
        """Return what observes the action and makes the faults strike."""
        return Injection(faults)

    def perform_action(self) -> None:
        """Do the action, or start after its kill, in which the faults strike."""
        if self.killed_at is None:
            self.request(self.action)
            return
        self.killed = self.error = None
        with contextlib.suppress(Killed):
            self.restart()

    def kill_in_action(self) -> None:
        """Kill nova-compute in the action, if the row asks for that."""
        if self.killed_at is not None:
            self.injection.arm({self.killed_at: Kill()})
            self.request(self.action)
            self.injection.disarm()
            self.assertIsNotNone(self.killed)

    def _expected_failure(self) -> dict[Place, Fault]:
        return {} if self.fails_at is None else {self.fails_at: StepFails()}

    def assert_undisturbed(self) -> None:
        self.assertIsNone(self.killed)
        self.assertEqual(self.fails_at is None, self.error is None, self.error)

    def places(self) -> list[Place]:
        reached = super().places()
        if self.fails_at is not None:
            reached = reached[reached.index(self.fails_at) + 1 :]
        steps = {step_of(place) for place in reached}
        self.assertLessEqual(self.unique_steps, steps)
        if self.other_steps is None:
            return reached
        self.assertLessEqual(self.other_steps, steps)
        wanted = self.unique_steps | self.other_steps
        return [place for place in reached if step_of(place) in wanted]
