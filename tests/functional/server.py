# SPDX-License-Identifier: Apache-2.0
"""One server, and what must hold after its rescue, its unrescue or a refusal."""

import functools
import unittest
from typing import Any
from unittest import mock

import fixtures
from lxml import etree
from nova import objects
from nova.tests.fixtures import libvirt

from stable_rescue.compute.watch import Watch
from stable_rescue.domain import recognize
from stable_rescue.domain.document import Domain
from stable_rescue.storage.record import Record
from stable_rescue.storage.store import Store
from tests.faults.assertions import NovaState, RecoveryAssertions
from tests.functional import base


class ServerTestBase(RecoveryAssertions, base.RescueTestBase):
    """A test case with one server, and an image to rescue it with."""

    server: dict[str, Any]
    #: The id of the image that rescues use unless a test names another.
    image: str
    #: What libvirt ran before the rescue.
    original: str

    def setUp(self) -> None:
        super().setUp()
        self.make_server()
        self.note_original()

    @classmethod
    def warm_up(cls) -> None:
        _live_once()

    def make_server(self) -> None:
        """Make ``server`` and ``image``."""
        self.server = self.create_server()
        self.image = self.create_rescue_image(hw_rescue_bus="usb")

    def note_original(self) -> None:
        """Note what the server is like now, to compare with after a rescue."""
        self.original = self.live_definition()
        self.before = self.observed()

    def run_checks(self) -> None:
        """Run each method of this class whose name begins with "check_".

        One server does for all of them, because it is the same after each check. What
        fixtures have changed in a check is undone before the next one.
        """
        names = [name for name in dir(self) if name.startswith("check_")]
        self.assertGreater(len(names), 1)
        state = self.nova_state()
        for name in names:
            with (
                fixtures.Fixture() as scope,
                mock.patch.object(self, "useFixture", scope.useFixture),
            ):
                getattr(self, name)()
            self.assertEqual((name, state), (name, self.nova_state()))
            self.assertEqual(self.before, self.observed(), name)

    def instance(self) -> objects.Instance:
        """Return the server as Nova's database has it."""
        return objects.Instance.get_by_uuid(self.context, self.server["id"])

    def domain(self) -> libvirt.Domain:
        """Return the server's domain."""
        return self.libvirt_connection().lookupByUUIDString(self.server["id"])

    def store(self) -> Store:
        """Return the store of the server's rescue record."""
        return Store(str(self.folder(self.server)))

    def record(self) -> Record | None:
        """Return the server's rescue record, if there is one."""
        return self.store().load()

    def recorded_rescue(self) -> Domain:
        """Return the rescue definition in the record, which libvirt was given.

        Nova's libvirt fixture drops parts of it: kernels, read-only flags, caches.
        """
        return Domain.parse(self.record().rescue_xml)

    def rescue_disk(self) -> etree._Element | None:
        """Return the rescue disk in the server's definition, or None."""
        return recognize.rescue_disk(Domain.parse(self.definition(self.server)))

    def set_nova_state(self, vm_state: str, task_state: str | None) -> None:
        """Set the server's states in Nova's database."""
        instance = self.instance()
        instance.vm_state, instance.task_state = vm_state, task_state
        instance.save()

    def nova_state(self) -> NovaState:
        instance = objects.Instance.get_by_uuid(
            self.context, self.server["id"], expected_attrs=[]
        )
        return NovaState(instance.vm_state, instance.task_state, instance.power_state)

    def live_definition(self) -> str:
        return self.definition(self.server)

    def next_definition(self) -> str:
        """Return the definition that libvirt starts next."""
        return self.definition(self.server, libvirt.VIR_DOMAIN_XML_INACTIVE)

    def observed(self) -> dict[str, Any]:
        return {
            "live": self.live_definition(),
            "next": self.next_definition(),
            "files": self.files(self.server),
            "running": bool(self.domain().isActive()),
        }

    def rescue_server(self, image: str | None = None) -> None:
        """Rescue the server and wait until it is rescued."""
        self.rescue(self.server, image or self.image)
        self._wait_for_state_change(self.server, "RESCUE")

    def recover_stalled(self) -> None:
        """Run the task that recovers stalled rescues, when all of them have stalled."""
        now = [0.0]
        with mock.patch.object(self.manager, "_watch", Watch(lambda: now[0])):
            for now[0] in (0.0, 999.0):
                self.manager._recover_stalled_rescues(self.context)
            for recovery in self.manager._recovering.values():
                recovery.result(60)

    def unrescue_server(self, status: str = "ACTIVE") -> None:
        """Unrescue the server and wait for its status."""
        self.unrescue(self.server)
        self._wait_for_state_change(self.server, status)

    def assert_status(self, status: str) -> None:
        """Assert that the server reaches a status, with no task left."""
        self._wait_for_server_parameter(
            self.server, {"status": status, "OS-EXT-STS:task_state": None}
        )

    def assert_restored(self, running: bool = True) -> None:
        """Wait for the status, and assert that the server is restored."""
        self.assert_status("ACTIVE" if running else "SHUTOFF")
        super().assert_restored(running)

    def assert_rescued(self) -> None:
        """Wait for the status, and assert that the server is rescued."""
        self.assert_status("RESCUE")
        super().assert_rescued()

    def assert_refused(
        self, *reasons: str, image: str | None = None, status: str = "ACTIVE"
    ) -> str:
        """Assert that the host refuses a rescue, and return the text for the user.

        :param reasons: what the text must contain, and the details of the last event
        """
        text = self.assert_rejected(*reasons, image=image, status=status)
        for reason in reasons:
            self.assertIn(reason, self.last_event(self.server)["details"])
        return text

    def assert_rejected(
        self, *reasons: str, image: str | None = None, status: str = "ACTIVE"
    ) -> str:
        """Assert that a request for a rescue fails, and return the text for the user.

        The guest is not powered off, and nothing of the server or its host changes.

        :param reasons: what the text must contain
        """
        before = self.observed()
        driver = self.driver
        with mock.patch.object(driver, "power_off", wraps=driver.power_off) as off:
            text = self.error_of(self.rescue, self.server, image or self.image)
        for reason in reasons:
            self.assertIn(reason, text)
        self.assert_status(status)
        off.assert_not_called()
        self.assertEqual(before, self.observed())
        return text


class OrdinaryLife(ServerTestBase):
    """What happens to the servers of many tests."""

    def runTest(self) -> None:
        self.rescue_server()
        self.restart_compute_service("compute1")
        self.unrescue_server()
        self._stop_server(self.server)
        self.rescue_server()
        self.unrescue_server("SHUTOFF")
        self.events(self.server)
        self._start_server(self.server)
        self.rescue_server(self.create_rescue_image())
        self._delete_server(self.server)


@functools.cache
def _live_once() -> None:
    OrdinaryLife().run(unittest.TestResult())
