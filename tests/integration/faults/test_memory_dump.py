# SPDX-License-Identifier: Apache-2.0
"""Kills in a rescue that dumps the memory, with a real QEMU (F38)."""

from typing import Any

import libvirt

from tests.faults.places import Place, step_of
from tests.integration.faults.test_matrix import RowTestBase


class RescueDumpingTest(RowTestBase):
    """The guest runs on after each fault, or is rescued and has a complete dump."""

    action, running = "rescue", True
    situation = "memory dumped"
    #: The steps at which faults strike; test_matrix has the others.
    steps = frozenset(
        {
            "make the file of a memory dump",
            "pause the guest",
            "dump the memory",
            "power off",
        }
    )

    def setUp(self) -> None:
        super().setUp()
        self.compute.properties["hw_rescue_memory"] = "dump"

    def places(self) -> list[Place]:
        reached = super().places()
        self.assertLessEqual(self.steps, {step_of(place) for place in reached})
        return [place for place in reached if step_of(place) in self.steps]

    def observed(self) -> dict[str, Any]:
        names = sorted(path.name for path in self.compute.dumps.iterdir())
        return super().observed() | {
            "incomplete dumps": [name for name in names if name.startswith(".")],
            "paused": self.server.domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED,
        }

    def assert_rescue_runs(self) -> None:
        super().assert_rescue_runs()
        newest = max(
            self.compute.dumps.iterdir(), key=lambda path: path.stat().st_mtime
        )
        self.assertTrue(newest.name.startswith(self.scene.uuid))
        self.assertIn(b"KDUMP", newest.read_bytes()[:8192])

    def test_server_after_each_kill_is_recovered(self) -> None:
        self.strike_everywhere("SIGKILL", "exception")
