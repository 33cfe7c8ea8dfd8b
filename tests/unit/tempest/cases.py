# SPDX-License-Identifier: Apache-2.0
"""A test case of the plugin whose compute API is fake."""

from __future__ import annotations

from typing import Any
from unittest import mock

from stable_rescue.tempest.tests import base


class _RescueCase(base.BaseRescueTest):
    def empty_test(self) -> None:
        """A test case cannot be created without the name of a test."""


def rescue_case(*shown: dict[str, Any]) -> Any:
    """Return a test of a new class, whose API shows a server in these states.

    Each request to show the server returns the next state, and then the last one.
    """
    case = type("RescueCase", (_RescueCase,), {})("empty_test")
    case.servers_client = mock.Mock()
    responses = [{"server": server} for server in shown]
    case.servers_client.show_server.side_effect = lambda server: (
        responses.pop(0) if len(responses) > 1 else responses[0]
    )
    return case


def server(status: str, task_state: str | None = None) -> dict[str, Any]:
    """Return a server as the API shows it."""
    return {"status": status, "OS-EXT-STS:task_state": task_state}
