# SPDX-License-Identifier: Apache-2.0
"""What fails after power-off, or is cut short: the server is whole afterwards."""

import dataclasses
import datetime
import threading
from collections.abc import Callable
from typing import Any
from unittest import mock

import fixtures
from nova import exception as nova_exception
from nova import objects
from nova.compute import power_state, task_states, vm_states
from nova.tests.functional.api import client
from nova.virt.libvirt import guest as libvirt_guest

from stable_rescue import nova_internals
from stable_rescue.domain import recognise
from stable_rescue.domain.document import Domain
from stable_rescue.storage.record import State, Store
from stable_rescue.virt import transitions
from tests.functional import base

NO_MEMORY = nova_exception.NovaException("cannot allocate memory at /dev/x")


class FailureTestBase(base.RescueTestBase):
    def setUp(self) -> None:
        super().setUp()
        self.server = self.create_server()
        self.own = self.definition(self.server)
        self.image = self.create_rescue_image(hw_rescue_bus="usb")

    def rescued(self) -> None:
        self.rescue(self.server, self.image)
        self._wait_for_state_change(self.server, "RESCUE")

    def fail_launch(self, of_rescue: bool) -> None:
        """Let the start of the rescue's, or of the server's own definition fail."""
        launch = libvirt_guest.Guest.launch

        def fail(guest: libvirt_guest.Guest, pause: bool = False) -> Any:
            if recognise.is_rescue(Domain.parse(guest._encoded_xml)) is of_rescue:
                raise NO_MEMORY
            return launch(guest, pause)

        self.useFixture(
            fixtures.MonkeyPatch("nova.virt.libvirt.guest.Guest.launch", fail)
        )

    def failing(self, action: Callable[[], Any]) -> str:
        """Return the text of the error that the API's caller would read."""
        return self.assertRaises(client.OpenStackApiException, action).response.text

    def unrescue(self) -> None:
        self.api.post_server_action(self.server["id"], {"unrescue": None})

    def instance(self) -> objects.Instance:
        return objects.Instance.get_by_uuid(self.context, self.server["id"])

    def assert_itself(self, status: str = "ACTIVE") -> None:
        self._wait_for_server_parameter(
            self.server, {"status": status, "OS-EXT-STS:task_state": None}
        )
        running = status == "ACTIVE"
        state = power_state.RUNNING if running else power_state.SHUTDOWN
        self.assertEqual(state, self.instance().power_state)
        self.assertEqual(self.own, self.definition(self.server))
        self.assertEqual([], self.files(self.server))


class FailedTest(FailureTestBase):
    """UPSTREAM U7: no ERROR, no server that is off."""

    def test_start_of_the_rescue(self) -> None:
        self.fail_launch(of_rescue=True)
        told = self.failing(lambda: self.rescue(self.server, self.image))
        self.assertIn("could not be started", told)
        self.assertNotIn("/dev/x", told)
        self.assert_itself()

    def test_start_of_the_rescue_of_a_stopped_server(self) -> None:
        self.api.post_server_action(self.server["id"], {"os-stop": None})
        self._wait_for_state_change(self.server, "SHUTOFF")
        self.fail_launch(of_rescue=True)
        self.failing(lambda: self.rescue(self.server, self.image))
        self.assert_itself("SHUTOFF")

    def test_power_off(self) -> None:
        self.power_offs().side_effect = nova_exception.InstancePowerOffFailure(
            reason="x"
        )
        told = self.failing(lambda: self.rescue(self.server, self.image))
        self.assertIn("could not be powered off", told)
        self.assert_itself()

    def test_a_volume_of_a_stopped_server_that_does_not_connect(self) -> None:
        self.api.post_server_action(self.server["id"], {"os-stop": None})
        self._wait_for_state_change(self.server, "SHUTOFF")
        power_off = self.power_offs()
        with mock.patch("stable_rescue.storage.volumes.connect", side_effect=NO_MEMORY):
            told = self.failing(lambda: self.rescue(self.server, self.image))
        self.assertIn("cannot prepare the rescue", told)
        power_off.assert_not_called()
        self.assert_itself("SHUTOFF")

    def test_a_failure_that_cannot_be_undone_is_an_error_with_its_record(self) -> None:
        with mock.patch(
            "stable_rescue.nova_internals.start_guest", side_effect=NO_MEMORY
        ):
            self.failing(lambda: self.rescue(self.server, self.image))
        self._wait_for_server_parameter(self.server, {"status": "ERROR"})
        record = Store(str(self.folder(self.server))).load()
        self.assertEqual(State.BEGINNING, record.state)
        # What the log says: restart nova-compute.
        self.restart_compute_service("compute1")
        self.assert_itself()

    def test_start_of_the_server_in_unrescue(self) -> None:
        self.rescued()
        self.fail_launch(of_rescue=False)
        self.failing(self.unrescue)
        self._wait_for_server_parameter(
            self.server, {"status": "RESCUE", "OS-EXT-STS:task_state": None}
        )
        self.assertTrue(recognise.is_rescue(Domain.parse(self.definition(self.server))))
        self.useFixture(
            fixtures.MonkeyPatch(
                "nova.virt.libvirt.guest.Guest.launch",
                lambda guest, pause=False: guest._domain.createWithFlags(0),
            )
        )
        self.unrescue()
        self.assert_itself()

    def test_removal_of_the_medium_in_unrescue(self) -> None:
        self.rescued()
        with mock.patch(
            "stable_rescue.storage.medium.remove", side_effect=OSError(5, "I/O error")
        ):
            self.unrescue()
        self._wait_for_state_change(self.server, "ACTIVE")
        self.assertEqual(self.own, self.definition(self.server))
        self.restart_compute_service("compute1")
        self.assert_itself()


class PowerStateTest(FailureTestBase):
    def test_a_stopped_server_comes_back_stopped(self) -> None:
        """UPSTREAM U18."""
        self.api.post_server_action(self.server["id"], {"os-stop": None})
        self._wait_for_state_change(self.server, "SHUTOFF")
        self.rescued()
        self.unrescue()
        self.assert_itself("SHUTOFF")
        ended = self.notifier.wait_for_versioned_notifications("instance.unrescue.end")
        # Nor was it ever told otherwise.
        said = ended[-1]["payload"]["nova_object.data"]
        self.assertEqual(vm_states.STOPPED, said["state"])

    def test_the_rescue_system_is_shut_down_cleanly(self) -> None:
        """UPSTREAM U17."""
        self.rescued()
        power_off = self.power_offs()
        self.unrescue()
        self._wait_for_state_change(self.server, "ACTIVE")
        _instance, timeout, _interval = power_off.call_args.args
        self.assertEqual(base.base.CONF.shutdown_timeout, timeout)

    def test_a_damaged_unrescue_xml(self) -> None:
        """UPSTREAM U19."""
        self.rescued()
        (self.folder(self.server) / "unrescue.xml").write_text("<domain><na")
        self.unrescue()
        self.assert_itself()

    def test_a_missing_unrescue_xml(self) -> None:
        """UPSTREAM U19."""
        self.rescued()
        (self.folder(self.server) / "unrescue.xml").unlink()
        self.unrescue()
        self.assert_itself()


class RestartTest(FailureTestBase):
    """UPSTREAM U24: nova-compute is killed and started again."""

    def cut_short(self, vm_state: str, task_state: str | None, state: State) -> None:
        """Bring database and record to where a killed process has left them."""
        instance = self.instance()
        instance.vm_state, instance.task_state = vm_state, task_state
        instance.save()
        store = Store(str(self.folder(self.server)))
        store.save(store.load().at(state))

    def test_between_start_and_database(self) -> None:
        self.rescued()
        self.cut_short(vm_states.ACTIVE, task_states.RESCUING, State.RESCUED)
        self.restart_compute_service("compute1")
        self._wait_for_server_parameter(
            self.server, {"status": "RESCUE", "OS-EXT-STS:task_state": None}
        )
        self.unrescue()
        self.assert_itself()

    def test_at_the_start_of_the_rescue(self) -> None:
        self.rescued()
        self.cut_short(vm_states.ACTIVE, task_states.RESCUING, State.BEGINNING)
        self.restart_compute_service("compute1")
        self.assert_itself()

    def test_in_unrescue(self) -> None:
        self.rescued()
        self.cut_short(vm_states.RESCUED, task_states.UNRESCUING, State.ENDING)
        self.restart_compute_service("compute1")
        self.assert_itself()

    def test_what_is_left_of_a_rescue_that_is_over_is_removed(self) -> None:
        """Also where the server was stopped since: it is not started."""
        self.rescued()
        with mock.patch(
            "stable_rescue.storage.medium.remove", side_effect=OSError(5, "I/O error")
        ):
            self.unrescue()
        self._wait_for_state_change(self.server, "ACTIVE")
        self.api.post_server_action(self.server["id"], {"os-stop": None})
        self._wait_for_state_change(self.server, "SHUTOFF")
        self.assertEqual(
            ["stable_rescue.json", "unrescue.xml"], self.files(self.server)
        )
        self.restart_compute_service("compute1")
        self.assert_itself("SHUTOFF")

    def test_before_anything_was_written(self) -> None:
        instance = self.instance()
        instance.task_state = task_states.RESCUING
        instance.save()
        self.restart_compute_service("compute1")
        self.assert_itself()

    def test_a_rescued_server_stays_rescued(self) -> None:
        self.rescued()
        before = self.definition(self.server)
        self.restart_compute_service("compute1")
        self._wait_for_state_change(self.server, "RESCUE")
        self.assertEqual(before, self.definition(self.server))

    def test_a_damaged_record_stops_no_one(self) -> None:
        self.rescued()
        (self.folder(self.server) / "stable_rescue.json").write_text("{")
        self.restart_compute_service("compute1")
        self._wait_for_state_change(self.server, "RESCUE")
        self.unrescue()
        self.assert_itself()


class ManyAtStartTest(FailureTestBase):
    """Several servers were in a rescue when nova-compute was killed."""

    def setUp(self) -> None:
        super().setUp()
        self.bad = self.server
        self.server = self.create_server()
        self.own = self.definition(self.server)
        for server in (self.bad, self.server):
            instance = objects.Instance.get_by_uuid(self.context, server["id"])
            instance.task_state = task_states.RESCUING
            instance.save()
        self.settle = transitions.settle

    def at_start(self, of_bad: Callable[..., Any]) -> None:
        """Start nova-compute, with something else done for the bad one."""

        def settle(driver: Any, context: Any, instance: Any, finish: bool) -> Any:
            bad = instance.uuid == self.bad["id"]
            function = of_bad if bad else self.settle
            return function(driver, context, instance, finish)

        self.useFixture(fixtures.MonkeyPatch(f"{transitions.__name__}.settle", settle))
        self.restart_compute_service("compute1")

    def test_one_that_fails(self) -> None:
        self.at_start(mock.Mock(side_effect=NO_MEMORY))
        self.assert_itself()

    def test_one_that_hangs(self) -> None:
        self.flags(recovery_timeout=1, group="stable_rescue")
        go_on = threading.Event()
        self.addCleanup(go_on.set)

        def hang(*args: Any) -> Any:
            go_on.wait(60)
            return self.settle(*args)

        self.at_start(hang)
        self.assert_itself()
        go_on.set()
        self._wait_for_server_parameter(
            self.bad, {"status": "ACTIVE", "OS-EXT-STS:task_state": None}
        )


class DeleteTest(FailureTestBase):
    def test_a_rescued_server_is_undefined_as_itself(self) -> None:
        """Else libvirt keeps the UEFI variables that are its own."""
        self.rescued()
        defined = []
        define = nova_internals.define_guest
        self.useFixture(
            fixtures.MonkeyPatch(
                "stable_rescue.nova_internals.define_guest",
                lambda driver, xml: (defined.append(xml), define(driver, xml)),
            )
        )
        self._delete_server(self.server)
        self.assertEqual([self.own], defined)
        connection = self.computes["compute1"].driver._host.get_connection()
        self.assertEqual({}, connection._vms)


class StaleRecordTest(FailureTestBase):
    """The end of an earlier rescue has left something."""

    def left(self) -> Store:
        self.rescued()
        store = Store(str(self.folder(self.server)))
        record = store.load().at(State.ENDING)
        self.unrescue()
        self._wait_for_state_change(self.server, "ACTIVE")
        store.save(record)
        return store

    def test_a_stopped_server_is_not_started_by_it(self) -> None:
        self.left()
        self.api.post_server_action(self.server["id"], {"os-stop": None})
        self._wait_for_state_change(self.server, "SHUTOFF")
        self.rescued()
        self.unrescue()
        self.assert_itself("SHUTOFF")

    def test_one_that_is_damaged_is_in_nobodys_way(self) -> None:
        self.left()
        (self.folder(self.server) / "stable_rescue.json").write_text("{")
        self.rescued()
        self.unrescue()
        self.assert_itself()


class HostRestartTest(FailureTestBase):
    """UPSTREAM U14, U15: the host is started again while a server is rescued."""

    def restart_host(self) -> None:
        connection = self.computes["compute1"].driver._host.get_connection()
        domain = connection.lookupByUUIDString(self.server["id"])
        connection._event_callbacks.clear()  # nobody is there to see it end
        domain.destroy()
        self.restart_compute_service("compute1")

    def come_back(self, resume: bool) -> None:
        self.flags(resume_guests_state_on_host_boot=resume)
        self.rescued()
        before = self.definition(self.server)
        self.restart_host()
        self._wait_for_server_parameter(
            self.server, {"status": "RESCUE", "OS-EXT-STS:power_state": 1}
        )
        self.assertEqual(before, self.definition(self.server))
        self.unrescue()
        self.assert_itself()

    def test_with_guests_resumed(self) -> None:
        self.come_back(True)

    def test_its_shares_are_mounted_before_it_starts(self) -> None:
        self.rescued()
        done = mock.Mock()
        for name in ("mount_shares", "start_guest"):
            function = getattr(nova_internals, name)
            getattr(done, name).side_effect = function
            self.useFixture(
                fixtures.MonkeyPatch(
                    f"stable_rescue.nova_internals.{name}", getattr(done, name)
                )
            )
        self.restart_host()
        self._wait_for_state_change(self.server, "RESCUE")
        self.assertEqual(
            ["mount_shares", "start_guest"], [call[0] for call in done.mock_calls]
        )

    def test_without(self) -> None:
        self.come_back(False)


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
        self.assertNotEqual(self.own, self.definition(self.server))
        self.rescued()
        store = Store(str(self.folder(self.server)))
        self.assertEqual(self.own, store.original())
        self.unrescue()
        self.assert_itself()

    def test_neither_record_nor_unrescue_xml(self) -> None:
        """UPSTREAM U19."""
        self.rescued()
        for path in self.folder(self.server).iterdir():
            path.unlink()
        self.unrescue()
        self.assert_itself()

    def test_no_definition_in_libvirt(self) -> None:
        """UPSTREAM U20: the rescue has all devices, and so has what is saved."""
        connection = self.computes["compute1"].driver._host.get_connection()
        domain = connection.lookupByUUIDString(self.server["id"])
        domain.destroy()
        domain.undefine()
        self.rescued()
        store = Store(str(self.folder(self.server)))
        self.assertEqual(self.own, store.original())
        self.unrescue()
        self.assert_itself()


class OverdueTest(FailureTestBase):
    """UPSTREAM U29."""

    def test_launched_at_is_kept(self) -> None:
        instance = self.instance()
        launched = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        instance.launched_at = launched
        instance.save()
        self.rescued()
        self.assertEqual(launched, self.instance().launched_at)

    def test_one_that_fails_stops_no_other(self) -> None:
        other, self.server = self.server, self.create_server()
        for server in (other, self.server):
            self.rescue(server, self.image)
            self._wait_for_state_change(server, "RESCUE")
        self.own = Store(str(self.folder(self.server))).original()
        manager = self.computes["compute1"].manager
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
        self.assert_itself()
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
        self.rescued()
        self.neutron.delete_port(gone["id"])
        self.unrescue()
        self._wait_for_state_change(self.server, "ACTIVE")
        found = self.definition(self.server)
        self.assertNotIn(gone["mac_address"], found)
        self.assertIn(self.neutron.port_1["mac_address"], found)
