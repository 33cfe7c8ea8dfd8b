# SPDX-License-Identifier: Apache-2.0
"""The server that the tests of a class share, and how its states are waited for."""

from __future__ import annotations

import dataclasses
import unittest
from typing import Any
from unittest import mock

from tempest.lib import exceptions
from tempest.lib.common import rest_client

from stable_rescue.tempest.guest.inventory import Device, Inventory
from stable_rescue.tempest.tests import base

CONF = mock.Mock()
CONF.compute.build_timeout = 0.2
CONF.compute.build_interval = 0.0


class _Case(base.BaseRescueTest):
    def nothing(self) -> None:
        """Only so that there is a case to call methods of."""


def case(*shown: dict[str, Any]) -> Any:
    """Return a test whose API shows a server so, one time after the other."""
    test = type("Fresh", (_Case,), {})("nothing")
    test.servers_client = mock.Mock()
    answers = [{"server": server} for server in shown]
    test.servers_client.show_server.side_effect = lambda server: (
        answers.pop(0) if len(answers) > 1 else answers[0]
    )
    return test


def answer(**body: str) -> rest_client.ResponseBody:
    response = {"status": "200", "x-openstack-request-id": "req-1"}
    return rest_client.ResponseBody(response, body)


def at(status: str, task: str | None = None) -> dict[str, Any]:
    return {"status": status, "OS-EXT-STS:task_state": task}


@mock.patch.object(base, "CONF", CONF)
class SharedServerTest(unittest.TestCase):
    def setUp(self) -> None:
        patch = mock.patch.object(base.waiters, "wait_for_server_termination")
        self.wait = self.enterContext(patch)

    def two_tests(self, test: Any) -> list[str]:
        """Return the servers of two tests of a class, the first one's end between."""
        type(test)._volumes = ["v"]
        with mock.patch.object(test, "_new_server", side_effect=["a", "b"]):
            first = test.server()
            test.discard_unless_well()
            return [first, test.server()]

    def test_one_that_is_well_is_kept(self) -> None:
        test = case(at("ACTIVE"))
        self.assertEqual(["a", "a"], self.two_tests(test))
        test.servers_client.delete_server.assert_not_called()

    def test_one_that_a_test_has_broken_is_replaced_volumes_and_all(self) -> None:
        left = [at("ERROR"), at("RESCUE"), at("SHUTOFF"), at("ACTIVE", "rescuing")]
        for shown in left:
            test = case(shown)
            with mock.patch.object(test, "delete_volume") as delete_volume:
                self.assertEqual(["a", "b"], self.two_tests(test), shown)
            test.servers_client.delete_server.assert_called_once_with("a")
            self.wait.assert_called_with(test.servers_client, "a", ignore_error=True)
            delete_volume.assert_called_once_with("v")


@mock.patch.object(base, "CONF", CONF)
class StateTest(unittest.TestCase):
    def test_rescue_waits_until_nothing_is_under_way(self) -> None:
        test = case(at("ACTIVE", "rescuing"), at("ACTIVE", "rescuing"), at("RESCUE"))
        test.servers_client.rescue_server.return_value = answer(adminPass="x")
        self.assertEqual("x", test.rescue("s", "image"))
        test.servers_client.rescue_server.assert_called_once_with(
            "s", rescue_image_ref="image"
        )

    def test_a_rescue_that_was_refused_is_a_failure(self) -> None:
        for status in ("ACTIVE", "ERROR"):
            test = case(at("ACTIVE", "rescuing"), at(status))
            test.servers_client.rescue_server.return_value = answer(adminPass="x")
            with self.assertRaises(AssertionError, msg=status):
                test.rescue("s", "image")

    def test_a_wait_has_an_end(self) -> None:
        test = case(at("ACTIVE", "rescuing"))
        with self.assertRaisesRegex(exceptions.TimeoutException, "rescuing.*req-1"):
            test.settled("s", answer())


ROOT = Device("disk", "00:03.0", "vda", 1 << 30, signature="0x1")
DATA = Device("disk", "00:04.0", "vdb", 1 << 30, serial="one")
RESCUE = Device("disk", "00:05.0", "vdc", 1 << 24, signature="0x2")


def seen(*disks: Device, booted: Device) -> Inventory:
    facts = {"edd_signature": booted.signature}
    return Inventory(1, "any", "b", "disk", "bios", 9.0, disks, facts)


class ExpectationTest(unittest.TestCase):
    def setUp(self) -> None:
        self.test = case(at("ACTIVE"))
        self.before = seen(ROOT, DATA, booted=ROOT)

    def test_a_rescue_as_it_should_be(self) -> None:
        rescued = seen(ROOT, DATA, RESCUE, booted=RESCUE)
        self.test.check_rescued(self.before, rescued)
        self.test.check_same(self.before, seen(ROOT, DATA, booted=ROOT))

    def test_a_device_that_moved(self) -> None:
        moved = Device("disk", "00:06.0", "vdb", 1 << 30, serial="one")
        with self.assertRaisesRegex(AssertionError, "moved: 1 of 2"):
            self.test.check_rescued(
                self.before, seen(ROOT, moved, RESCUE, booted=RESCUE)
            )
        with self.assertRaisesRegex(AssertionError, "moved: 1 of 2"):
            self.test.check_same(self.before, seen(ROOT, moved, booted=ROOT))

    def test_only_a_cdroms_number_may_change(self) -> None:
        drive = Device("disk", "00:1f.2/ata:1/0:0:0", "sr0", label="config-2")
        before = seen(ROOT, DATA, drive, booted=ROOT)
        renumbered = dataclasses.replace(drive, name="sr1")
        rescue = dataclasses.replace(RESCUE, name="sr0")
        rescued = seen(ROOT, DATA, renumbered, rescue, booted=rescue)
        self.test.check_rescued(before, rescued)
        # Not by a rescue disk, and no other disk's.
        with self.assertRaisesRegex(AssertionError, "moved: 1 of 3"):
            self.test.check_rescued(
                before, seen(ROOT, DATA, renumbered, RESCUE, booted=RESCUE)
            )
        renamed = dataclasses.replace(DATA, name="vdd")
        with self.assertRaisesRegex(AssertionError, "moved: 1 of 3"):
            self.test.check_rescued(
                before, seen(ROOT, renamed, drive, rescue, booted=rescue)
            )

    def test_the_original_system_in_disguise(self) -> None:
        with self.assertRaisesRegex(AssertionError, "booted from"):
            self.test.check_rescued(self.before, seen(ROOT, DATA, RESCUE, booted=ROOT))

    def test_a_rescue_that_brings_more_than_one_disk(self) -> None:
        more = Device("disk", "00:07.0", "vdd", 1 << 25)
        with self.assertRaisesRegex(AssertionError, "brought"):
            self.test.check_rescued(
                self.before, seen(ROOT, DATA, RESCUE, more, booted=RESCUE)
            )

    def test_what_is_left_behind(self) -> None:
        with self.assertRaisesRegex(AssertionError, "left behind"):
            self.test.check_same(self.before, seen(ROOT, DATA, RESCUE, booted=ROOT))
