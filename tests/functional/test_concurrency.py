# SPDX-License-Identifier: Apache-2.0
"""Requests that arrive during a rescue or an unrescue, and many rescues at once."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from unittest import mock

import fixtures
from nova import exception as nova_exception
from nova import objects
from nova.tests.functional.api import client
from oslo_concurrency import lockutils

from stable_rescue import steps
from tests.functional import base, images

TIMEOUT = 60  # seconds
#: Seconds in which a deletion would end if it did not wait.
WAITING = 0.7
SERVERS = 20


class Pause(fixtures.Fixture):
    """Stops the first thread that reaches a step, until ``resume`` is set."""

    def __init__(self, point: str) -> None:
        super().__init__()
        self._point = point
        self.reached = threading.Event()
        self.resume = threading.Event()

    def _setUp(self) -> None:
        self.addCleanup(setattr, steps, "observe", steps.observe)
        self.addCleanup(self.resume.set)
        steps.observe = self._observe

    def _observe(self, point: str) -> None:
        if point == self._point and not self.reached.is_set():
            self.reached.set()
            if not self.resume.wait(TIMEOUT):
                raise AssertionError(f"the test did not resume {point}")


class OneTurn(threading.BoundedSemaphore):
    """One turn to exchange a guest; ``contended`` is set if two servers want it."""

    def __init__(self) -> None:
        super().__init__(1)
        self.contended = threading.Event()
        self._wanted = 0

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        self._wanted += 1
        if self._wanted > 1:
            self.contended.set()
        return super().acquire(blocking, timeout)


class ConcurrencyTestBase(base.RescueTestBase):
    def setUp(self) -> None:
        super().setUp()
        self.image = self.create_rescue_image(hw_rescue_bus="usb")
        self.pool = ThreadPoolExecutor(SERVERS + 4)
        self.addCleanup(self.pool.shutdown)

    def request(self, server: dict[str, Any], action: str) -> int:
        """Request an action; return the status code of the API's answer."""
        body: dict[str, Any] = {action: None}
        if action == "rescue":
            body = {"rescue": {"rescue_image_ref": self.image}}
        elif action == "reboot":
            body = {"reboot": {"type": "HARD"}}
        try:
            if action == "delete":
                self.api.delete_server(server["id"])
            else:
                self.api.post_server_action(server["id"], body)
        except client.OpenStackApiException as error:
            return int(error.response.status_code)
        return 202

    def start_request(self, server: dict[str, Any], action: str) -> "Future[int]":
        """Request an action in a thread.

        Nova's fixtures make the API wait until the host has finished.
        """
        return self.pool.submit(self.request, server, action)

    def domain_uuids(self) -> list[str]:
        connection = self.computes["compute1"].driver._host.get_connection()
        return [domain.UUIDString() for domain in connection._vms.values()]

    def assert_deleted(self, server: dict[str, Any]) -> None:
        self._wait_until_deleted(server)
        self.assertNotIn(server["id"], self.domain_uuids())
        self.assertFalse(self.folder(server).exists())
        self.assertRaises(
            nova_exception.InstanceNotFound,
            objects.Instance.get_by_uuid,
            self.context,
            server["id"],
        )


class DeleteTestBase(ConcurrencyTestBase):
    def check_delete(
        self, point: str, action: str = "rescue", waits: bool = True
    ) -> None:
        """Delete the server when an action reaches a point.

        :param waits: the deletion has to wait for the action
        """
        server = self.create_server()
        if action == "unrescue":
            self.rescue(server, self.image)
            self._wait_for_state_change(server, "RESCUE")
        self.check_delete_of(server, point, action, waits)

    def check_delete_of(
        self, server: dict[str, Any], point: str, action: str, waits: bool
    ) -> None:
        pause = self.useFixture(Pause(point))
        acting = self.start_request(server, action)
        self.assertTrue(pause.reached.wait(TIMEOUT))
        deleting = self.start_request(server, "delete")
        if waits:
            self._wait_for_server_parameter(
                server, {"OS-EXT-STS:task_state": "deleting"}
            )
            self.assertRaises(TimeoutError, deleting.result, WAITING)
        else:
            self.assertEqual(202, deleting.result(TIMEOUT))
        pause.resume.set()
        acting.result(TIMEOUT)
        self.assertEqual(202, deleting.result(TIMEOUT))
        self.assert_deleted(server)


class DeletedMeanwhileTest(DeleteTestBase):
    def test_delete_does_not_wait_for_the_preparation(self) -> None:
        self.check_delete("before write a temporary file", waits=False)

    def test_delete_does_not_wait_before_the_trial_definition(self) -> None:
        self.check_delete("after fetch the rescue disk", waits=False)

    def test_delete_waits_for_the_trial_definition(self) -> None:
        self.check_delete("before define a domain")

    def test_delete_waits_until_the_original_is_defined_again(self) -> None:
        self.check_delete("after define a domain")

    def test_delete_waits_until_a_lost_definition_is_built(self) -> None:
        server = self.create_server()
        domain = self.libvirt_connection().lookupByUUIDString(server["id"])
        domain.destroy()
        domain.undefine()
        self.check_delete_of(server, "before define a domain", "rescue", waits=True)

    def test_delete_waits_for_the_start_of_the_rescue(self) -> None:
        self.check_delete("before start a domain")

    def test_delete_waits_for_the_start_in_unrescue(self) -> None:
        self.check_delete("before start a domain", "unrescue")


class EarlierRescueTest(DeleteTestBase):
    """A rescue recovers the server from an earlier rescue before it is prepared."""

    def fail_to_rescue(self) -> dict[str, Any]:
        """Return a server in ERROR: its rescue failed and was not rolled back."""
        server = self.create_server()
        with mock.patch(
            "stable_rescue.nova_internals.start_guest", side_effect=OSError(5)
        ):
            self.request(server, "rescue")
        self._wait_for_server_parameter(server, {"status": "ERROR"})
        return server

    def test_delete_waits_for_the_recovery(self) -> None:
        server = self.fail_to_rescue()
        self.check_delete_of(server, "before start a domain", "rescue", waits=True)

    def test_server_that_is_deleted_is_not_recovered(self) -> None:
        server = self.fail_to_rescue()
        with lockutils.lock(server["id"]):
            rescuing = self.start_request(server, "rescue")
            self._wait_for_server_parameter(
                server, {"OS-EXT-STS:task_state": "rescuing"}
            )
            instance = objects.Instance.get_by_uuid(self.context, server["id"])
            instance.task_state = "deleting"
            instance.save()
        rescuing.result(TIMEOUT)
        self.assertIn("stable_rescue.json", self.files(server))
        domain = self.libvirt_connection().lookupByUUIDString(server["id"])
        self.assertFalse(domain.isActive())


class DeletedMeanwhileOnDiskTest(ConcurrencyTestBase, images.ImagesTestBase):
    """With Nova's real image backends, which create the directory if it is missing."""

    def test_delete_while_the_medium_is_made_leaves_nothing(self) -> None:
        self.image = self.add_image(bytes(4096))
        pause = self.useFixture(Pause("before build the medium in a temporary file"))
        rescuing = self.start_request(self.server, "rescue")
        self.assertTrue(pause.reached.wait(TIMEOUT))
        deleting = self.start_request(self.server, "delete")
        self.assertEqual(202, deleting.result(TIMEOUT))
        self.assert_deleted(self.server)
        pause.resume.set()
        rescuing.result(TIMEOUT)
        self.assert_deleted(self.server)


class ManyTest(ConcurrencyTestBase):
    def test_other_requests_during_preparation_get_409(self) -> None:
        server = self.create_server()
        pause = self.useFixture(Pause("before define a domain"))
        rescuing = self.start_request(server, "rescue")
        self.assertTrue(pause.reached.wait(TIMEOUT))
        for action in ("rescue", "unrescue", "os-stop", "reboot"):
            self.assertEqual(409, self.request(server, action), action)
        pause.resume.set()
        self.assertEqual(202, rescuing.result(TIMEOUT))
        self._wait_for_state_change(server, "RESCUE")

    def test_simultaneous_requests_leave_a_server_deletable(self) -> None:
        server = self.create_server()
        actions = ("rescue", "os-stop", "reboot", "unrescue", "rescue", "unrescue")
        requests = [self.start_request(server, action) for action in actions]
        # Nova answers 500 if a task begins between its check and its save.
        answers = {request.result(TIMEOUT) for request in requests}
        self.assertLessEqual(answers, {202, 409, 500})
        self._wait_for_server_parameter(server, {"OS-EXT-STS:task_state": None})
        requests = [
            self.start_request(server, action) for action in (*actions, "delete")
        ]
        for request in requests:
            request.result(TIMEOUT)
        self.request(server, "delete")
        self.assert_deleted(server)

    def test_guest_runs_until_it_is_its_turn(self) -> None:
        first, second = self.create_server(), self.create_server()
        connection = self.libvirt_connection()
        for action, status in (("rescue", "RESCUE"), ("unrescue", "ACTIVE")):
            turns = OneTurn()
            with (
                mock.patch("stable_rescue.virt.turns._turns", turns),
                mock.patch("stable_rescue.virt.turns._WAIT_SECONDS", TIMEOUT),
                Pause("before power off") as pause,
            ):
                self.start_request(first, action)
                self.assertTrue(pause.reached.wait(TIMEOUT))
                self.start_request(second, action)
                self.assertTrue(turns.contended.wait(TIMEOUT))
                domain = connection.lookupByUUIDString(second["id"])
                self.assertTrue(domain.isActive())
                is_rescued = "disk.rescue" in self.definition(second)
                self.assertEqual(action == "unrescue", is_rescued)
                pause.resume.set()
                for server in (first, second):
                    self._wait_for_state_change(server, status)
            # Each has ended its turn.
            self.assertTrue(turns.acquire(blocking=False))

    def test_twenty_servers_are_rescued_at_once(self) -> None:
        self.flags(instances=-1, cores=-1, ram=-1, group="quota")
        servers = [self.create_server() for _ in range(SERVERS)]
        originals = [self.definition(server) for server in servers]
        requests = [self.start_request(server, "rescue") for server in servers]
        self.assertEqual({202}, {request.result(TIMEOUT) for request in requests})
        for server in servers:
            self._wait_for_state_change(server, "RESCUE")
        requests = [self.start_request(server, "unrescue") for server in servers]
        self.assertEqual({202}, {request.result(TIMEOUT) for request in requests})
        for server in servers:
            self._wait_for_state_change(server, "ACTIVE")
            self.assertEqual([], self.files(server))
        self.assertEqual(originals, [self.definition(server) for server in servers])
