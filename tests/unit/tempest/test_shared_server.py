# SPDX-License-Identifier: Apache-2.0
"""The server that the tests of a class share."""

from __future__ import annotations

import unittest
from typing import Any
from unittest import mock

from stable_rescue.tempest.tests import shared_server
from tests.unit.tempest import cases


class SharedServerTest(unittest.TestCase):
    def setUp(self) -> None:
        self.wait = self.enterContext(
            mock.patch.object(shared_server.waiters, "wait_for_server_termination")
        )

    def servers_of_two_tests(self, case: Any) -> list[str]:
        """Return the servers of two tests of a class; the first test ends between."""
        type(case)._volumes = ["v"]
        with mock.patch.object(case, "_create_server", side_effect=["a", "b"]):
            first = case.active_server()
            case.delete_server_unless_active()
            return [first, case.active_server()]

    def test_active_server_is_kept_for_next_test(self) -> None:
        case = cases.rescue_case(cases.server("ACTIVE"))
        self.assertEqual(["a", "a"], self.servers_of_two_tests(case))
        case.servers_client.delete_server.assert_not_called()

    def test_broken_server_is_replaced_and_deleted_with_volumes(self) -> None:
        for shown in (
            cases.server("ERROR"),
            cases.server("RESCUE"),
            cases.server("SHUTOFF"),
            cases.server("ACTIVE", "rescuing"),
        ):
            with self.subTest(shown):
                case = cases.rescue_case(shown)
                with mock.patch.object(case, "delete_volume") as delete_volume:
                    self.assertEqual(["a", "b"], self.servers_of_two_tests(case))
                client = case.servers_client
                client.delete_server.assert_called_once_with("a")
                self.wait.assert_called_with(client, "a", ignore_error=True)
                delete_volume.assert_called_once_with("v")
