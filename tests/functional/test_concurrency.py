# SPDX-License-Identifier: Apache-2.0
"""Several requests at once: each server comes to rest, and what is deleted is gone."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import fixtures
from nova import exception as nova_exception
from nova import objects
from nova.tests.functional.api import client

from stable_rescue import steps
from tests.functional import base, images

SECONDS = 60
SERVERS = 20


class Pause(fixtures.Fixture):
    """Holds who reaches a point, until told to go on."""

    def __init__(self, point: str) -> None:
        super().__init__()
        self._point = point
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def _setUp(self) -> None:
        self.addCleanup(setattr, steps, "observe", steps.observe)
        self.addCleanup(self.go_on.set)
        steps.observe = self._observe

    def _observe(self, point: str) -> None:
        if point == self._point and not self.reached.is_set():
            self.reached.set()
            if not self.go_on.wait(SECONDS):
                raise AssertionError(f"nobody lets {point} go on")


class ConcurrencyTestBase(base.RescueTestBase):
    def setUp(self) -> None:
        super().setUp()
        self.image = self.create_rescue_image(hw_rescue_bus="usb")
        self.pool = ThreadPoolExecutor(SERVERS + 4)
        self.addCleanup(self.pool.shutdown)

    def ask(self, server: dict[str, Any], action: str) -> int:
        """Ask for an action; return the status code of the API's answer."""
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
        except client.OpenStackApiException as refused:
            return int(refused.response.status_code)
        return 202

    def begin(self, *args: Any) -> "Future[int]":
        """Ask in a thread: Nova's fixtures answer once the host is done."""
        return self.pool.submit(self.ask, *args)

    def domains(self) -> list[str]:
        connection = self.computes["compute1"].driver._host.get_connection()
        return [domain.UUIDString() for domain in connection._vms.values()]

    def assert_gone(self, server: dict[str, Any]) -> None:
        self._wait_until_deleted(server)
        self.assertNotIn(server["id"], self.domains())
        self.assertFalse(self.folder(server).exists())
        self.assertRaises(
            nova_exception.InstanceNotFound,
            objects.Instance.get_by_uuid,
            self.context,
            server["id"],
        )


class DeletedMeanwhileTest(ConcurrencyTestBase):
    def delete_at(self, point: str, action: str = "rescue", waits: bool = True) -> None:
        server = self.create_server()
        if action == "unrescue":
            self.rescue(server, self.image)
            self._wait_for_state_change(server, "RESCUE")
        pause = self.useFixture(Pause(point))
        acting = self.begin(server, action)
        self.assertTrue(pause.reached.wait(SECONDS))
        deleting = self.begin(server, "delete")
        if waits:
            self._wait_for_server_parameter(
                server, {"OS-EXT-STS:task_state": "deleting"}
            )
        else:
            self.assertEqual(202, deleting.result(SECONDS))
        pause.go_on.set()
        acting.result(SECONDS)
        self.assertEqual(202, deleting.result(SECONDS))
        self.assert_gone(server)

    def test_while_a_rescue_is_prepared(self) -> None:
        """The deletion does not wait, and the preparation leaves nothing."""
        self.delete_at("before write a file beside its place", waits=False)

    def test_before_libvirt_is_asked(self) -> None:
        self.delete_at("after fetch the rescue disk", waits=False)

    def test_while_libvirt_is_asked(self) -> None:
        self.delete_at("before define a domain")

    def test_while_the_old_definition_is_put_back(self) -> None:
        self.delete_at("after define a domain")

    def test_while_the_rescue_is_started(self) -> None:
        self.delete_at("before start a domain")

    def test_while_the_server_comes_back(self) -> None:
        self.delete_at("before start a domain", "unrescue")


class DeletedMeanwhileOnDiskTest(ConcurrencyTestBase, images.ImagesTestBase):
    """With Nova's own image backends, which make the directory that they need."""

    def test_while_the_medium_is_built(self) -> None:
        self.image = self.add_image(bytes(4096))
        pause = self.useFixture(Pause("before build the medium beside its place"))
        acting = self.begin(self.server, "rescue")
        self.assertTrue(pause.reached.wait(SECONDS))
        self.assertEqual(202, self.begin(self.server, "delete").result(SECONDS))
        self.assert_gone(self.server)
        pause.go_on.set()
        acting.result(SECONDS)
        self.assert_gone(self.server)


class ManyTest(ConcurrencyTestBase):
    def test_other_requests_while_a_rescue_is_prepared(self) -> None:
        server = self.create_server()
        pause = self.useFixture(Pause("before define a domain"))
        rescuing = self.begin(server, "rescue")
        self.assertTrue(pause.reached.wait(SECONDS))
        for action in ("rescue", "unrescue", "os-stop", "reboot"):
            self.assertEqual(409, self.ask(server, action), action)
        pause.go_on.set()
        self.assertEqual(202, rescuing.result(SECONDS))
        self._wait_for_state_change(server, "RESCUE")

    def test_all_at_once(self) -> None:
        """Whoever comes first: the server is at rest, and gone in the end."""
        server = self.create_server()
        actions = ("rescue", "os-stop", "reboot", "unrescue", "rescue", "unrescue")
        asked = [self.begin(server, action) for action in actions]
        # 500 is Nova's own answer to who comes between its check and its save.
        answers = {future.result(SECONDS) for future in asked}
        self.assertLessEqual(answers, {202, 409, 500})
        self._wait_for_server_parameter(server, {"OS-EXT-STS:task_state": None})
        asked = [self.begin(server, action) for action in (*actions, "delete")]
        for future in asked:
            future.result(SECONDS)
        self.ask(server, "delete")
        self.assert_gone(server)

    def test_twenty_servers(self) -> None:
        self.flags(instances=-1, cores=-1, ram=-1, group="quota")
        servers = [self.create_server() for _ in range(SERVERS)]
        before = [self.definition(server) for server in servers]
        answers = [self.begin(server, "rescue") for server in servers]
        self.assertEqual({202}, {answer.result(SECONDS) for answer in answers})
        for server in servers:
            self._wait_for_state_change(server, "RESCUE")
        answers = [self.begin(server, "unrescue") for server in servers]
        self.assertEqual({202}, {answer.result(SECONDS) for answer in answers})
        for server in servers:
            self._wait_for_state_change(server, "ACTIVE")
            self.assertEqual([], self.files(server))
        self.assertEqual(before, [self.definition(server) for server in servers])
