# SPDX-License-Identifier: Apache-2.0
"""Each point of a rescue and an unrescue x each fault: no server is lost.

Nova is real, libvirt is Nova's fixture. A kill is modelled: from its point on, no step
is done any more, clean-up included, and nova-compute is started again.
"""

from typing import Any

import fixtures
from nova import objects
from nova.compute import power_state, vm_states
from nova.tests import fixtures as nova_fixtures
from nova.tests.fixtures import libvirt

from stable_rescue import steps
from stable_rescue.domain import recognise
from stable_rescue.domain.document import Domain
from tests import tally
from tests.functional import base
from tests.functional.faults.injection import FAULTS, Injection, Killed, Place

VOLUME = nova_fixtures.CinderFixture.IMAGE_BACKED_VOL


class MatrixTestBase(base.RescueTestBase):
    """A server with a volume, a NIC and a config drive, and the faults for it."""

    def setUp(self) -> None:
        super().setUp()
        self.connected: set[str] = set()
        self.killed: Killed | None = None
        self.error: Exception | None = None
        self._watch_volumes()
        self._store_on_lvm()
        self.server = self.create_server(config_drive=True)
        self.api.post_server_volume(
            self.server["id"], {"volumeAttachment": {"volumeId": VOLUME}}
        )
        self.image = self.create_rescue_image(
            hw_rescue_bus="usb", kernel_id="k", ramdisk_id="r"
        )
        for name in ("rescue_instance", "unrescue_instance"):
            self._call_at_once(name)
        self.injection = self.useFixture(Injection())

    def _watch_volumes(self) -> None:
        driver = "nova.virt.libvirt.volume.volume.LibvirtFakeVolumeDriver."
        for name, change in (
            ("connect_volume", self.connected.add),
            ("disconnect_volume", self.connected.discard),
        ):
            self.useFixture(
                fixtures.MonkeyPatch(
                    driver + name,
                    lambda _driver, info, *_args, change=change, **_kwargs: change(
                        info["data"]["volume_id"]
                    ),
                )
            )

        self.useFixture(
            fixtures.MonkeyPatch(
                "stable_rescue.storage.volumes.is_there",
                lambda _driver, volume, _info: volume.serial in self.connected,
            )
        )

    def _store_on_lvm(self) -> None:
        """Have a volume of LVM behind the medium, too."""
        lvm = self.lvm = set()

        def fetch(*_args: Any, **_options: Any) -> None:
            lvm.add("x_disk.rescue")

        for name, function in (
            ("nova_internals.rescue_disks_of_lvm", lambda *_: sorted(lvm)),
            ("storage.medium.lvm.remove_volumes", lvm.difference_update),
        ):
            self.useFixture(fixtures.MonkeyPatch(f"stable_rescue.{name}", function))
        self.useFixture(
            fixtures.MockPatch(
                "nova.virt.libvirt.LibvirtDriver._create_and_inject_local_root", fetch
            )
        )

    def _call_at_once(self, name: str) -> None:
        """Have the API call the manager in this thread, for a kill to end it."""

        def call(_rpc: Any, context: Any, instance: Any, **args: Any) -> None:
            sent = objects.Instance.obj_from_primitive(
                instance.obj_to_primitive(), context
            )
            manager = self.computes["compute1"].manager
            try:
                getattr(manager, name)(context, instance=sent, **args)
            except Killed as killed:
                self.killed = killed
            except Exception as error:  # noqa: BLE001 - a cast tells nobody
                self.error = error

        self.useFixture(
            fixtures.MonkeyPatch(f"nova.compute.rpcapi.ComputeAPI.{name}", call)
        )

    def restart(self) -> None:
        """Start nova-compute again, as far as it looks at instances.

        A new manager and a new driver; the service around them takes long to end.
        """
        service = self.computes["compute1"]
        connection = service.driver._host.get_connection()
        node = service.driver._host.get_node_uuid()
        service.manager = type(service.manager)(host=service.host)
        service.driver = service.manager.driver
        # As in Nova's start_compute.
        service.driver._host.get_connection = lambda: connection
        service.driver._host.get_node_uuid = lambda: node
        service.manager.init_host(service.service_ref)

    def instance(self) -> objects.Instance:
        return objects.Instance.get_by_uuid(self.context, self.server["id"])

    def act(self, action: str) -> None:
        """Ask for an action; what became of it is in `killed` and `error`."""
        self.killed = self.error = None
        body: dict[str, Any] = {action: None}
        if action == "rescue":
            body = {"rescue": {"rescue_image_ref": self.image}}
        self.api.post_server_action(self.server["id"], body)

    def do(self, action: str, status: str) -> None:
        """Do an action without a fault."""
        self.act(action)
        self.assertIsNone(self.error)
        self._wait_for_server_parameter(
            self.server, {"status": status, "OS-EXT-STS:task_state": None}
        )


class Scenario(MatrixTestBase):
    """An action on a server; the fault strikes at each point that it reaches."""

    action: str
    running: bool

    def setUp(self) -> None:
        super().setUp()
        self.status = "ACTIVE" if self.running else "SHUTOFF"
        if not self.running:
            self.api.post_server_action(self.server["id"], {"os-stop": None})
            self._wait_for_state_change(self.server, "SHUTOFF")
        self.own = self.definition(self.server)
        self.before = self._observed()
        self.places = self._places()

    def _places(self) -> list[Place]:
        """Return each place that the action reaches where nothing fails."""
        self._get_ready()
        self.injection.arm()
        self.do(self.action, self.status if self.action == "unrescue" else "RESCUE")
        places = self.injection.disarm()
        self._be_itself()
        return places

    def _get_ready(self) -> None:
        if self.action == "unrescue":
            self.do("rescue", "RESCUE")

    def _be_itself(self) -> None:
        if self.instance().vm_state == vm_states.RESCUED:
            self.do("unrescue", self.status)
        self._assert_itself()

    def _observed(self) -> dict[str, Any]:
        return {
            "live": self.definition(self.server),
            "defined": self.definition(self.server, libvirt.VIR_DOMAIN_XML_INACTIVE),
            "files": self.files(self.server),
            "lvm": sorted(self.lvm),
            "running": bool(self._domain().isActive()),
            "connected": set(self.connected),
            "attachments": dict(self.cinder.volume_to_attachment[VOLUME]),
        }

    def _domain(self) -> Any:
        connection = self.computes["compute1"].driver._host.get_connection()
        return connection.lookupByUUIDString(self.server["id"])

    def _assert_itself(self) -> None:
        instance = self.instance()
        state = vm_states.ACTIVE if self.running else vm_states.STOPPED
        power = power_state.RUNNING if self.running else power_state.SHUTDOWN
        self.assertEqual(
            (state, None, power),
            (instance.vm_state, instance.task_state, instance.power_state),
        )
        self.assertEqual(self.before, self._observed())

    def _assert_rescued(self) -> None:
        instance = self.instance()
        self.assertEqual(
            (vm_states.RESCUED, None, power_state.RUNNING),
            (instance.vm_state, instance.task_state, instance.power_state),
        )
        self.assertTrue(self._domain().isActive())
        found = Domain.parse(self.definition(self.server))
        self.assertIsNotNone(recognise.rescue_disk(found))
        self.assertEqual(
            self.own, (self.folder(self.server) / "unrescue.xml").read_text()
        )

    def assert_at_rest(self) -> None:
        if self.instance().vm_state == vm_states.RESCUED:
            self._assert_rescued()
        else:
            self._assert_itself()

    def strike(self, fault: str, place: Place) -> None:
        """Try one cell of the matrix.

        :raises AssertionError: where the server is between, or something is left
        """
        self._get_ready()
        kind = FAULTS[fault]()
        self.injection.arm(kind, place)
        self.act(self.action)
        self.injection.disarm()
        self.assertTrue(kind.struck)
        if fault.endswith("exception"):
            # One step that fails once: nobody has to come and help.
            self.assertNotEqual(vm_states.ERROR, self.instance().vm_state)
        self.restart()
        self.assert_at_rest()
        self._be_itself()

    def strike_everywhere(self, fault: str) -> None:
        lost = []
        last = self.places[-1]
        for place in self.places:
            if FAULTS[fault].wants(place[0], place == last):
                try:
                    self.strike(fault, place)
                except Exception as exc:  # noqa: BLE001 - all cells are tried
                    lost.append(f"{place}: {exc}")
                    tally.count(self._row(), fault, place, recovered=False)
                    break
                tally.count(self._row(), fault, place, recovered=True)
        self.assertEqual([], lost)

    def _row(self) -> str:
        return f"{self.action}, guest {'running' if self.running else 'stopped'}"


class Cells:
    """A test for each fault."""

    def test_exception(self) -> None:
        self.strike_everywhere("exception")

    def test_late_exception(self) -> None:
        self.strike_everywhere("late exception")

    def test_kill(self) -> None:
        self.strike_everywhere("SIGKILL")

    def test_disk_full(self) -> None:
        self.strike_everywhere("disk full")

    def test_libvirt_lost(self) -> None:
        self.strike_everywhere("libvirt lost")


class RescueOfRunningTest(Cells, Scenario):
    action, running = "rescue", True


class RescueOfStoppedTest(Cells, Scenario):
    action, running = "rescue", False


class UnrescueOfRunningTest(Cells, Scenario):
    action, running = "unrescue", True


class UnrescueOfStoppedTest(Cells, Scenario):
    action, running = "unrescue", False


#: Steps that the server of the matrix has no need of, and who takes them.
ELSEWHERE = {
    "build and start a domain": "a server without any definition left",
    "build the medium beside its place": "a real image backend (test_medium)",
    "disconnect a volume": "a volume that was not connected before (test_volumes)",
    "keep the config drive to its owner": "a real image backend (test_config_drive)",
    "make a volume's secret": "an encrypted volume (test_volumes)",
    "remove RBD images": "a medium on RBD (test_medium)",
    "save a volume's connection": "a device with a new name (test_volumes)",
    "update a volume's attachment": "a host with a new address (test_volumes)",
}


class ReachedTest(MatrixTestBase):
    """A step that is added has to come into the matrix."""

    def test_each_step_is_reached(self) -> None:
        self.injection.arm()
        self.do("rescue", "RESCUE")
        self.do("unrescue", "ACTIVE")
        self.api.post_server_action(self.server["id"], {"os-stop": None})
        self._wait_for_state_change(self.server, "SHUTOFF")
        self.do("rescue", "RESCUE")
        self.do("unrescue", "SHUTOFF")
        reached = {
            point.removeprefix("before ").removeprefix("after ")
            for point, _number in self.injection.disarm()
        }
        self.assertEqual(sorted({*steps.names()} - reached), sorted(ELSEWHERE))
