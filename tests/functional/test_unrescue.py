# SPDX-License-Identifier: Apache-2.0
"""What an unrescue restores, and what happens to a rescued server otherwise."""

import dataclasses
import datetime
import errno
from typing import Any
from unittest import mock

import fixtures
from nova import objects
from nova.compute import task_states, vm_states

from stable_rescue import nova_internals
from stable_rescue.storage.store import Store
from tests.functional.failures import NO_MEMORY
from tests.functional.server import ServerTestBase


class UnrescueTest(ServerTestBase):
    def test_unrescue_restores_whatever_is_left_of_the_rescue(self) -> None:
        self.run_checks()

    def test_stopped_server_is_stopped_after_unrescue(self) -> None:
        """U18."""
        self._stop_server(self.server)
        self.rescue_server()
        self.unrescue(self.server)
        self.assert_restored(running=False)
        ends = self.notifier.wait_for_versioned_notifications("instance.unrescue.end")
        payload = ends[-1]["payload"]["nova_object.data"]
        self.assertEqual(vm_states.STOPPED, payload["state"])

    def check_unrescue_shuts_the_rescue_system_down_cleanly(self) -> None:
        """U17."""
        self.rescue_server()
        shutdown = self.useFixture(
            fixtures.MockPatch("nova.virt.libvirt.guest.Guest.shutdown", autospec=False)
        ).mock
        shutdown.side_effect = lambda: self.domain().shutdown()
        self.unrescue_server()
        shutdown.assert_called_once_with()

    def check_unrescue_restores_if_unrescue_xml_is_damaged(self) -> None:
        """U19."""
        self.rescue_server()
        (self.folder(self.server) / "unrescue.xml").write_text("<domain><na")
        self.unrescue(self.server)
        self.assert_restored()

    def check_unrescue_restores_if_unrescue_xml_is_missing(self) -> None:
        """U19."""
        self.rescue_server()
        (self.folder(self.server) / "unrescue.xml").unlink()
        self.unrescue(self.server)
        self.assert_restored()

    def check_unrescue_restores_without_record_or_unrescue_xml(self) -> None:
        """U19."""
        self.rescue_server()
        for path in self.folder(self.server).iterdir():
            path.unlink()
        self.unrescue(self.server)
        self.assert_restored()

    def test_unrescue_works_with_a_full_disk(self) -> None:
        self.rescue_server()
        with mock.patch(
            "stable_rescue.storage.files._write_temporary",
            side_effect=OSError(errno.ENOSPC, "No space left on device"),
        ):
            self.unrescue_server()
        self.assertEqual(self.original, self.live_definition())
        self.restart_compute_service("compute1")
        self.assert_restored()

    def test_unrescue_that_was_not_recorded_is_finished(self) -> None:
        """The disk was full, and nova-compute was killed.

        The record looks like that of a queued request, which recovery waits for first.
        """
        self.rescue_server()
        record = self.record()
        self.unrescue_server()
        self.store().save(record)
        self.set_nova_state(vm_states.RESCUED, task_states.UNRESCUING)
        self.manager._recover_one(self.context, self.instance())
        self.assert_restored()


class DeletedPortTest(ServerTestBase):
    """U25."""

    def attach(self, *ports: dict[str, Any]) -> None:
        for port in ports:
            self.api.attach_interface(
                self.server["id"], {"interfaceAttachment": {"port_id": port["id"]}}
            )
            self.assertIn(port["mac_address"], self.definition(self.server))

    def test_unrescue_drops_the_nic_of_a_deleted_port(self) -> None:
        self.neutron.create_port({"port": self.neutron.port_2})
        deleted, kept = self.neutron.port_2, self.neutron.port_1
        self.attach(kept, deleted)
        self.rescue_server()
        self.neutron.delete_port(deleted["id"])
        self.unrescue_server()
        unrescued = self.definition(self.server)
        self.assertNotIn(deleted["mac_address"], unrescued)
        self.assertIn(kept["mac_address"], unrescued)

    def test_unrescue_drops_the_only_nic_if_its_port_is_deleted(self) -> None:
        port = self.neutron.port_1
        self.attach(port)
        self.rescue_server()
        self.neutron.delete_port(port["id"])
        self.unrescue_server()
        self.assertNotIn(port["mac_address"], self.definition(self.server))

    def test_rescue_starts_again_without_a_deleted_port(self) -> None:
        """The host was rebooted."""
        port = self.neutron.port_1
        self.attach(port)
        self.rescue_server()
        self.neutron.delete_port(port["id"])
        self.domain().destroy()
        self.restart_compute_service("compute1")
        self.assert_rescued()
        self.assertNotIn(port["mac_address"], self.definition(self.server))


class DeleteTest(ServerTestBase):
    def test_delete_of_a_rescued_server_undefines_the_original(self) -> None:
        """libvirt removes only the NVRAM file that the definition names."""
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


class RescueTimeoutTest(ServerTestBase):
    """U29."""

    def test_rescue_keeps_launched_at(self) -> None:
        instance = self.instance()
        launched_at = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        instance.launched_at = launched_at
        instance.save()
        self.rescue_server()
        self.assertEqual(launched_at, self.instance().launched_at)

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
                rescued_at = datetime.datetime(2020, 1, 1)
                store.save(dataclasses.replace(store.load(), rescued_at=rescued_at))
            manager._poll_rescued_instances(self.context)
        self.assert_restored()
        self._wait_for_state_change(other, "RESCUE")
