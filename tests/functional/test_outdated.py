# SPDX-License-Identifier: Apache-2.0
"""Recovery of a server that has changed since it was chosen for recovery."""

from typing import Any

import fixtures
from nova import exception as nova_exception
from nova import objects
from nova.compute import task_states, vm_states
from nova.objects import fields

from stable_rescue.compute import recovery
from stable_rescue.storage.record import State
from tests.functional.failures import NO_MEMORY, FailureTestBase


class OutdatedTest(FailureTestBase):
    """The server changed before recovery had its lock."""

    def chosen(self, vm_state: str, task_state: str | None) -> objects.Instance:
        """Return the server in the state in which recovery chose it."""
        self.set_nova_state(vm_state, task_state)
        instance = objects.Instance.get_by_uuid(
            self.context, self.server["id"], recovery.EXPECTED_ATTRS
        )
        self.set_nova_state(vm_state, None)
        return instance

    def check_is_left_alone(self, instance: objects.Instance) -> None:
        state, observed = self.nova_state(), self.observed()
        self.manager._recover_one(self.context, instance)
        self.assertEqual(state, self.nova_state())
        self.assertEqual(observed, self.observed())

    def test_deleted_server_is_not_defined_again(self) -> None:
        self.rescue_server()
        instance = self.chosen(vm_states.RESCUED, task_states.UNRESCUING)
        self._delete_server(self.server)
        self.manager._recover_one(self.context, instance)
        self.assertEqual({}, self.libvirt_connection()._vms)
        self.assertRaises(nova_exception.InstanceNotFound, self.instance)

    def test_server_that_was_stopped_is_not_started(self) -> None:
        self.rescue_server()
        instance = self.chosen(vm_states.RESCUED, task_states.UNRESCUING)
        self.unrescue_server()
        self._stop_server(self.server)
        self.check_is_left_alone(instance)
        self.assert_restored(running=False)

    def test_server_on_another_host_is_left_alone(self) -> None:
        self.rescue_server()
        instance = self.chosen(vm_states.RESCUED, task_states.UNRESCUING)
        moved = self.instance()
        moved.host, moved.task_state = "compute2", task_states.UNRESCUING
        moved.save()
        self.check_is_left_alone(instance)

    def test_server_with_another_task_is_left_alone(self) -> None:
        self.rescue_server()
        for task_state in (
            task_states.REBUILDING,
            task_states.MIGRATING,
            task_states.DELETING,
        ):
            instance = self.chosen(vm_states.RESCUED, task_states.UNRESCUING)
            self.set_nova_state(vm_states.ERROR, task_state)
            self.check_is_left_alone(instance)

    def test_guest_that_is_off_because_of_another_task_stays_off(self) -> None:
        self.rescue_server()
        # nova-compute gets no event of the domain's end.
        self.libvirt_connection()._event_callbacks.clear()
        instance = self.chosen(vm_states.RESCUED, task_states.UNRESCUING)
        self.domain().destroy()
        self.set_nova_state(vm_states.RESCUED, task_states.DELETING)
        self.check_is_left_alone(instance)
        self.assertFalse(self.domain().isActive())

    def test_rescue_that_is_being_prepared_is_not_discarded(self) -> None:
        instance = self.chosen(vm_states.ACTIVE, task_states.RESCUING)
        self.set_nova_state(vm_states.ACTIVE, task_states.RESCUING)
        with self.manager._watch.working_on(self.server["id"]):
            self.check_is_left_alone(instance)


class OperatorTest(FailureTestBase):
    """An operator sets a server to ERROR, to evacuate, rebuild or examine it."""

    def reset_state(self) -> None:
        self.rescue_server()
        self.admin_api.post_server_action(
            self.server["id"], {"os-resetState": {"state": "error"}}
        )

    def check_stays_in_error(self) -> None:
        observed, record = self.observed(), self.record()
        candidates = [found.uuid for found in self.manager._candidates(self.context)]
        self.assertEqual([], candidates)
        self.restart_compute_service("compute1")
        self.assertEqual(vm_states.ERROR, self.instance().vm_state)
        self.assertEqual(observed, self.observed())
        self.assertEqual(record, self.record())

    def test_server_set_to_error_during_its_rescue_stays(self) -> None:
        self.reset_state()
        self.check_stays_in_error()

    def test_server_set_to_error_during_its_unrescue_stays(self) -> None:
        self.reset_state()
        self.store().save(self.record().at(State.ENDING))
        self.check_stays_in_error()

    def test_server_that_is_evacuated_is_not_started(self) -> None:
        self.reset_state()
        self.domain().destroy()
        self.set_nova_state(vm_states.ERROR, task_states.REBUILDING)
        self.check_evacuated_server_is_not_started()
        self.assertEqual(task_states.REBUILDING, self.instance().task_state)

    def test_server_that_was_evacuated_is_not_started(self) -> None:
        self.rescue_server()
        self.domain().destroy()
        self.check_evacuated_server_is_not_started()

    def check_evacuated_server_is_not_started(self) -> None:
        """Nova destroys its guest before it initializes the other servers."""
        other = self.create_server()
        self.evacuate()
        self.restart_compute_service("compute1")
        self.assertEqual(
            [other["id"]],
            [vm.UUIDString() for vm in self.libvirt_connection()._vms.values()],
        )

    def evacuate(self) -> None:
        """Leave what the API leaves when it has accepted an evacuation."""
        objects.Migration(
            self.context,
            instance_uuid=self.server["id"],
            source_compute="compute1",
            source_node="compute1",
            dest_compute="compute2",
            status="accepted",
            migration_type=fields.MigrationType.EVACUATION,
        ).create()

        def is_shared(*_args: Any, **_options: Any) -> bool:
            return True

        self.useFixture(
            fixtures.MonkeyPatch(
                "nova.compute.manager.ComputeManager._is_instance_storage_shared",
                is_shared,
            )
        )


class BootTest(FailureTestBase):
    def test_error_of_a_failed_resume_at_host_boot_is_recovered(self) -> None:
        """Nova, not an operator, has set the server to ERROR."""
        self.flags(resume_guests_state_on_host_boot=True)
        self.rescue_server()
        self.libvirt_connection()._event_callbacks.clear()
        self.domain().destroy()
        with fixtures.MonkeyPatch(
            "stable_rescue.nova_internals.start_guest", _fail_to_start
        ):
            self.restart_compute_service("compute1")
        self.assertEqual(vm_states.ERROR, self.instance().vm_state)
        self.restart_compute_service("compute1")
        self.assert_rescued()


def _fail_to_start(*_args: Any) -> None:
    raise NO_MEMORY
