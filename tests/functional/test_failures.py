# SPDX-License-Identifier: Apache-2.0
"""What fails after power-off, or was left by others: the server is whole afterwards."""

import dataclasses
import datetime
from typing import Any
from unittest import mock

import fixtures
from nova import exception as nova_exception
from nova import objects
from nova.compute import vm_states

from stable_rescue import nova_internals
from stable_rescue.storage.record import State, Store
from tests.functional import base
from tests.functional.failures import NO_MEMORY, FailureTestBase


class FailedTest(FailureTestBase):
    """UPSTREAM U7: no ERROR, no server that is off."""

    def test_start_of_the_rescue(self) -> None:
        self.fail_launch(of_rescue=True)
        told = self.error_of(self.rescue, self.server, self.image)
        self.assertIn("could not be started", told)
        self.assertNotIn("/dev/x", told)
        self.assert_restored()

    def test_start_of_the_rescue_of_a_stopped_server(self) -> None:
        self._stop_server(self.server)
        self.fail_launch(of_rescue=True)
        self.error_of(self.rescue, self.server, self.image)
        self.assert_restored(running=False)

    def test_power_off(self) -> None:
        self.power_offs().side_effect = nova_exception.InstancePowerOffFailure(
            reason="x"
        )
        told = self.error_of(self.rescue, self.server, self.image)
        self.assertIn("could not be powered off", told)
        self.assert_restored()

    def test_a_volume_of_a_stopped_server_that_does_not_connect(self) -> None:
        self._stop_server(self.server)
        power_off = self.power_offs()
        with mock.patch("stable_rescue.storage.volumes.connect", side_effect=NO_MEMORY):
            told = self.error_of(self.rescue, self.server, self.image)
        self.assertIn("cannot prepare the rescue", told)
        power_off.assert_not_called()
        self.assert_restored(running=False)

    def test_a_failure_that_cannot_be_undone_is_an_error_with_its_record(self) -> None:
        with mock.patch(
            "stable_rescue.nova_internals.start_guest", side_effect=NO_MEMORY
        ):
            self.error_of(self.rescue, self.server, self.image)
        self._wait_for_server_parameter(self.server, {"status": "ERROR"})
        record = self.record()
        self.assertEqual(State.BEGINNING, record.state)
        # What the log says: restart nova-compute.
        self.restart_compute_service("compute1")
        self.assert_restored()

    def test_start_of_the_server_in_unrescue(self) -> None:
        self.rescue_server()
        self.fail_launch(of_rescue=False)
        self.error_of(self.unrescue, self.server)
        self.assert_rescued()
        self.useFixture(
            fixtures.MonkeyPatch(
                "nova.virt.libvirt.guest.Guest.launch",
                lambda guest, pause=False: guest._domain.createWithFlags(0),
            )
        )
        self.unrescue(self.server)
        self.assert_restored()

    def test_removal_of_the_medium_in_unrescue(self) -> None:
        self.rescue_server()
        self.unrescue_without_cleanup()
        self.assertEqual(self.original, self.definition(self.server))
        self.restart_compute_service("compute1")
        self.assert_restored()


class PowerStateTest(FailureTestBase):
    def test_a_stopped_server_comes_back_stopped(self) -> None:
        """UPSTREAM U18."""
        self._stop_server(self.server)
        self.rescue_server()
        self.unrescue(self.server)
        self.assert_restored(running=False)
        ended = self.notifier.wait_for_versioned_notifications("instance.unrescue.end")
        # Nor was it ever told otherwise.
        said = ended[-1]["payload"]["nova_object.data"]
        self.assertEqual(vm_states.STOPPED, said["state"])

    def test_the_rescue_system_is_shut_down_cleanly(self) -> None:
        """UPSTREAM U17."""
        self.rescue_server()
        power_off = self.power_offs()
        self.unrescue_server()
        _instance, timeout, _interval = power_off.call_args.args
        self.assertEqual(base.base.CONF.shutdown_timeout, timeout)

    def test_a_damaged_unrescue_xml(self) -> None:
        """UPSTREAM U19."""
        self.rescue_server()
        (self.folder(self.server) / "unrescue.xml").write_text("<domain><na")
        self.unrescue(self.server)
        self.assert_restored()

    def test_a_missing_unrescue_xml(self) -> None:
        """UPSTREAM U19."""
        self.rescue_server()
        (self.folder(self.server) / "unrescue.xml").unlink()
        self.unrescue(self.server)
        self.assert_restored()


class DeleteTest(FailureTestBase):
    def test_a_rescued_server_is_undefined_as_itself(self) -> None:
        """Else libvirt keeps the UEFI variables that are its own."""
        self.rescue_server()
        defined = []
        define = nova_internals.define_guest
        self.useFixture(
            fixtures.MonkeyPatch(
                "stable_rescue.nova_internals.define_guest",
                lambda driver, xml: (defined.append(xml), define(driver, xml)),
            )
        )
        self._delete_server(self.server)
        self.assertEqual([self.original], defined)
        self.assertEqual({}, self.libvirt_connection()._vms)


class StaleRecordTest(FailureTestBase):
    """The end of an earlier rescue has left something."""

    def left(self) -> Store:
        self.rescue_server()
        store = self.store()
        record = store.load().at(State.ENDING)
        self.unrescue_server()
        store.save(record)
        return store

    def test_a_stopped_server_is_not_started_by_it(self) -> None:
        self.left()
        self._stop_server(self.server)
        self.rescue_server()
        self.unrescue(self.server)
        self.assert_restored(running=False)

    def test_one_that_is_damaged_is_in_nobodys_way(self) -> None:
        self.left()
        (self.folder(self.server) / "stable_rescue.json").write_text("{")
        self.rescue_server()
        self.unrescue(self.server)
        self.assert_restored()


class NovasOwnTest(FailureTestBase):
    """What Nova's driver, or nobody, has left of a rescue."""

    def rescued_by_nova(self) -> None:
        self.rescue(self.server, self.create_rescue_image())
        self._wait_for_state_change(self.server, "RESCUE")
        (self.folder(self.server) / "disk.rescue").touch()

    def test_a_server_that_a_failed_rescue_of_novas_has_left_in_error(self) -> None:
        self.rescued_by_nova()
        instance = self.instance()
        instance.vm_state = vm_states.ERROR
        instance.save()
        self.assertNotEqual(self.original, self.definition(self.server))
        self.rescue_server()
        store = self.store()
        self.assertEqual(self.original, store.original())
        self.unrescue(self.server)
        self.assert_restored()

    def test_neither_record_nor_unrescue_xml(self) -> None:
        """UPSTREAM U19."""
        self.rescue_server()
        for path in self.folder(self.server).iterdir():
            path.unlink()
        self.unrescue(self.server)
        self.assert_restored()

    def test_no_definition_in_libvirt(self) -> None:
        """UPSTREAM U20: the rescue has all devices, and so has what is saved."""
        domain = self.domain()
        domain.destroy()
        domain.undefine()
        self.rescue_server()
        store = self.store()
        self.assertEqual(self.original, store.original())
        self.unrescue(self.server)
        self.assert_restored()


class OverdueTest(FailureTestBase):
    """UPSTREAM U29."""

    def test_launched_at_is_kept(self) -> None:
        instance = self.instance()
        launched = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        instance.launched_at = launched
        instance.save()
        self.rescue_server()
        self.assertEqual(launched, self.instance().launched_at)

    def test_one_that_fails_stops_no_other(self) -> None:
        other, self.server = self.server, self.create_server()
        self.note_original()
        for server in (other, self.server):
            self.rescue(server, self.image)
            self._wait_for_state_change(server, "RESCUE")
        manager = self.manager
        names = [name for name, _task in manager._periodic_tasks]
        self.assertEqual(1, names.count("_poll_rescued_instances"))
        unrescue = manager.compute_api.unrescue

        def fail(context: Any, instance: objects.Instance) -> None:
            if instance.uuid == other["id"]:
                raise NO_MEMORY
            unrescue(context, instance)

        self.flags(rescue_timeout=3600)
        with mock.patch.object(manager.compute_api, "unrescue", fail):
            manager._poll_rescued_instances(self.context)
            self._wait_for_state_change(self.server, "RESCUE")
            for server in (other, self.server):
                store = Store(str(self.folder(server)))
                began = "2020-01-01T00:00:00"
                store.save(dataclasses.replace(store.load(), rescued_at=began))
            manager._poll_rescued_instances(self.context)
        self.assert_restored()
        self._wait_for_state_change(other, "RESCUE")


class PortGoneTest(FailureTestBase):
    """UPSTREAM U25."""

    def test_its_nic_does_not_come_back(self) -> None:
        self.neutron.create_port({"port": self.neutron.port_2})
        for port in (self.neutron.port_1, self.neutron.port_2):
            self.api.attach_interface(
                self.server["id"], {"interfaceAttachment": {"port_id": port["id"]}}
            )
        own = self.definition(self.server)
        gone = self.neutron.port_2
        self.assertIn(gone["mac_address"], own)
        self.rescue_server()
        self.neutron.delete_port(gone["id"])
        self.unrescue_server()
        found = self.definition(self.server)
        self.assertNotIn(gone["mac_address"], found)
        self.assertIn(self.neutron.port_1["mac_address"], found)
