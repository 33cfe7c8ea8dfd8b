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
from stable_rescue.storage.record import State
from stable_rescue.storage.store import Store
from tests.functional import base
from tests.functional.failures import NO_MEMORY, FailureTestBase


class FailedTest(FailureTestBase):
    """U7: no ERROR, no server that is off."""

    def test_failed_start_of_the_rescue_is_rolled_back(self) -> None:
        self.fail_launch(of_rescue=True)
        told = self.error_of(self.rescue, self.server, self.image)
        self.assertIn("could not be started", told)
        self.assertNotIn("/dev/x", told)
        self.assert_restored()

    def test_failed_start_leaves_a_stopped_server_stopped(self) -> None:
        self._stop_server(self.server)
        self.fail_launch(of_rescue=True)
        self.error_of(self.rescue, self.server, self.image)
        self.assert_restored(running=False)

    def test_failed_power_off_is_rolled_back(self) -> None:
        self.power_offs().side_effect = nova_exception.InstancePowerOffFailure(
            reason="x"
        )
        told = self.error_of(self.rescue, self.server, self.image)
        self.assertIn("could not be powered off", told)
        self.assert_restored()

    def test_failed_volume_connect_refuses_before_power_off(self) -> None:
        self._stop_server(self.server)
        power_off = self.power_offs()
        with mock.patch("stable_rescue.storage.volumes.connect", side_effect=NO_MEMORY):
            told = self.error_of(self.rescue, self.server, self.image)
        self.assertIn("cannot prepare the rescue", told)
        power_off.assert_not_called()
        self.assert_restored(running=False)

    def test_failed_rollback_sets_error_and_restart_recovers(self) -> None:
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

    def test_failed_start_in_unrescue_leaves_it_rescued(self) -> None:
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

    def test_medium_that_unrescue_left_is_removed_at_restart(self) -> None:
        self.rescue_server()
        self.unrescue_without_cleanup()
        self.assertEqual(self.original, self.definition(self.server))
        self.restart_compute_service("compute1")
        self.assert_restored()


class PowerStateTest(FailureTestBase):
    def test_stopped_server_is_stopped_after_unrescue(self) -> None:
        """U18."""
        self._stop_server(self.server)
        self.rescue_server()
        self.unrescue(self.server)
        self.assert_restored(running=False)
        ended = self.notifier.wait_for_versioned_notifications("instance.unrescue.end")
        # Nor was it ever told otherwise.
        said = ended[-1]["payload"]["nova_object.data"]
        self.assertEqual(vm_states.STOPPED, said["state"])

    def test_unrescue_shuts_the_rescue_system_down_cleanly(self) -> None:
        """U17."""
        self.rescue_server()
        power_off = self.power_offs()
        self.unrescue_server()
        _instance, timeout, _interval = power_off.call_args.args
        self.assertEqual(base.base.CONF.shutdown_timeout, timeout)

    def test_unrescue_restores_if_unrescue_xml_is_damaged(self) -> None:
        """U19."""
        self.rescue_server()
        (self.folder(self.server) / "unrescue.xml").write_text("<domain><na")
        self.unrescue(self.server)
        self.assert_restored()

    def test_unrescue_restores_if_unrescue_xml_is_missing(self) -> None:
        """U19."""
        self.rescue_server()
        (self.folder(self.server) / "unrescue.xml").unlink()
        self.unrescue(self.server)
        self.assert_restored()


class DeleteTest(FailureTestBase):
    def test_delete_of_a_rescued_server_undefines_the_original(self) -> None:
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

    def test_stale_record_does_not_start_a_stopped_server(self) -> None:
        self.left()
        self._stop_server(self.server)
        self.rescue_server()
        self.unrescue(self.server)
        self.assert_restored(running=False)

    def test_damaged_stale_record_does_not_block_a_rescue(self) -> None:
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

    def test_server_in_error_after_stock_rescue_is_rescued(self) -> None:
        self.rescued_by_nova()
        instance = self.instance()
        instance.vm_state = vm_states.ERROR
        instance.save()
        self.assertNotEqual(self.original, self.definition(self.server))
        self.rescue_server()
        store = self.store()
        self.assertEqual(self.original, store.load_original().to_xml())
        self.unrescue(self.server)
        self.assert_restored()

    def test_unrescue_restores_without_record_or_unrescue_xml(self) -> None:
        """U19."""
        self.rescue_server()
        for path in self.folder(self.server).iterdir():
            path.unlink()
        self.unrescue(self.server)
        self.assert_restored()

    def test_rescue_of_an_undefined_domain_has_all_devices(self) -> None:
        """U20: the rescue has all devices, and so has what is saved."""
        domain = self.domain()
        domain.destroy()
        domain.undefine()
        self.rescue_server()
        store = self.store()
        self.assertEqual(self.original, store.load_original().to_xml())
        self.unrescue(self.server)
        self.assert_restored()


class OverdueTest(FailureTestBase):
    """U29."""

    def test_rescue_keeps_launched_at(self) -> None:
        instance = self.instance()
        launched = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        instance.launched_at = launched
        instance.save()
        self.rescue_server()
        self.assertEqual(launched, self.instance().launched_at)

    def test_failed_timeout_unrescue_does_not_stop_others(self) -> None:
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
                began = datetime.datetime(2020, 1, 1)
                store.save(dataclasses.replace(store.load(), rescued_at=began))
            manager._poll_rescued_instances(self.context)
        self.assert_restored()
        self._wait_for_state_change(other, "RESCUE")


class PortGoneTest(FailureTestBase):
    """U25."""

    def test_unrescue_drops_the_nic_of_a_deleted_port(self) -> None:
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
