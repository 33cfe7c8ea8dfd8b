# SPDX-License-Identifier: Apache-2.0
"""Commands that ask the nova-compute of a functional test."""

import argparse
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fixtures

from stable_rescue.storage import requests
from tests.functional.server import ServerTestBase

SECONDS = 60
NO_SERVER = "00000000-5b6e-4789-8abc-def012345678"


class AskingTestBase(ServerTestBase):
    """A test case whose commands share a folder of requests with nova-compute."""

    def setUp(self) -> None:
        super().setUp()
        folder = Path(self.useFixture(fixtures.TempDir()).path)
        self.flags(host="compute1", state_path=str(folder))

    def ask_nova_compute(
        self,
        run: Callable[[argparse.Namespace, Any], Any],
        options: argparse.Namespace,
        times: int = 1,
    ) -> list[Future[Any]]:
        """Run a command, and nova-compute's task until each command has ended."""
        connection = self.libvirt_connection()
        with ThreadPoolExecutor(times) as pool:
            asked = [pool.submit(run, options, connection) for _time in range(times)]
            while not all(each.done() for each in asked):
                if all(each.done() for each in self.manager._recovering.values()):
                    self.manager._recover_requested_rescues(self.context)
                time.sleep(0.02)
        self.assertEqual([], list(requests.folder().iterdir()))
        return asked
