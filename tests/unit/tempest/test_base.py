# SPDX-License-Identifier: Apache-2.0
"""Waiting for the end of a rescue that a test has requested."""

from __future__ import annotations

import unittest
from unittest import mock

from tempest.lib import exceptions
from tempest.lib.common import rest_client

from stable_rescue.tempest.tests import base
from tests.unit.tempest import cases

CONF = mock.Mock()
CONF.compute.build_timeout = 0.2
CONF.compute.build_interval = 0.0


def response(**body: str) -> rest_client.ResponseBody:
    headers = {"status": "200", "x-openstack-request-id": "req-1"}
    return rest_client.ResponseBody(headers, body)


@mock.patch.object(base, "CONF", CONF)
class RescueTest(unittest.TestCase):
    def test_rescue_waits_until_server_is_idle(self) -> None:
        rescuing = cases.server("ACTIVE", "rescuing")
        case = cases.rescue_case(rescuing, rescuing, cases.server("RESCUE"))
        case.servers_client.rescue_server.return_value = response(adminPass="x")
        self.assertEqual("x", case.rescue("s", "image"))
        case.servers_client.rescue_server.assert_called_once_with(
            "s", rescue_image_ref="image"
        )

    def test_refused_rescue_fails_the_test(self) -> None:
        for status in ("ACTIVE", "ERROR"):
            case = cases.rescue_case(
                cases.server("ACTIVE", "rescuing"), cases.server(status)
            )
            case.servers_client.rescue_server.return_value = response(adminPass="x")
            with self.assertRaisesRegex(AssertionError, "server s .*req-1", msg=status):
                case.rescue("s", "image")

    def test_wait_until_idle_of_busy_server_times_out(self) -> None:
        case = cases.rescue_case(cases.server("ACTIVE", "rescuing"))
        with self.assertRaisesRegex(exceptions.TimeoutException, "rescuing.*req-1"):
            case.wait_until_idle("s", response())
