# SPDX-License-Identifier: Apache-2.0
"""Kills in a rescue that discards its writes, with a real QEMU (E8)."""

from typing import ClassVar

from stable_rescue.domain import overlays
from stable_rescue.domain.document import Domain
from tests.faults.places import Place, step_of
from tests.integration.faults.test_matrix import KillsOnly, RowTestBase


class Discarding(KillsOnly):
    """No original disk changes, and each has its overlay while the rescue runs."""

    situation = "writes discarded"
    #: The steps at which nova-compute is killed; test_matrix has the others.
    steps: ClassVar[frozenset[str]]
    #: Of a step that is reached more often, the first places are enough.
    most_places = 7

    def setUp(self) -> None:
        super().setUp()
        self.compute.properties["hw_rescue_writes"] = "discard"

    def places(self) -> list[Place]:
        reached = super().places()
        self.assertLessEqual(self.steps, {step_of(place) for place in reached})
        return [
            place
            for place in reached
            if step_of(place) in self.steps and place[1] <= self.most_places
        ]

    def assert_rescue_runs(self) -> None:
        super().assert_rescue_runs()
        targets = overlays.targets(Domain.parse(self.live_definition()))
        self.assertEqual(["vda", "vdb", "vdc", "vdd", "vde"], sorted(targets))
        for target in targets:
            overlay = self.scene.folder / f"overlay.{target}.rescue"
            self.assertEqual(b"QFI\xfb", overlay.read_bytes()[:4])


class RescueDiscardingTest(Discarding, RowTestBase):
    action, running = "rescue", True
    steps = frozenset({"make an overlay", "start a domain"})


class UnrescueDiscardingTest(Discarding, RowTestBase):
    """Without a guest, qemu-img reads the sizes of the disks."""

    action, running = "unrescue", False
    steps = frozenset({"define a domain", "remove a file"})
