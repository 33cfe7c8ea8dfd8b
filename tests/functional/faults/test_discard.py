# SPDX-License-Identifier: Apache-2.0
"""Faults in a rescue that discards its writes: no overlay is left, or made again."""

from tests.faults.engine import EveryFault
from tests.faults.places import Place
from tests.functional.faults.base import FaultTestBase, RowTestBase
from tests.functional.overlays import OverlaysFixture, names


class ServerWithOverlays(FaultTestBase):
    """A server whose rescue discards what it writes."""

    def make_server(self) -> None:
        self.overlays = self.useFixture(OverlaysFixture())
        self.flags(allowed_writes="keep,discard", group="stable_rescue")
        self.server = self.create_server(config_drive=True)
        self.image = self.create_rescue_image(
            hw_rescue_bus="usb", hw_rescue_writes="discard"
        )

    def request(self, action: str) -> None:
        if action == "rescue":
            self.overlays.made.clear()
        super().request(action)


class Discarding:
    """A rescued server has the overlays that were made for its rescue."""

    situation = "writes discarded"

    def assert_rescue_runs(self) -> None:
        super().assert_rescue_runs()
        expected = names(self.record())
        self.assertEqual(dict.fromkeys(expected, 1), self.overlays.made)
        self.assertLessEqual(set(expected), set(self.files(self.server)))


class DiscardTest(Discarding, EveryFault, ServerWithOverlays, RowTestBase):
    action, running = "rescue", True
    unique_steps = frozenset({"make an overlay"})
    other_steps = frozenset({"define a domain", "start a domain"})


class UnrescueTest(Discarding, EveryFault, ServerWithOverlays, RowTestBase):
    action, running = "unrescue", True
    other_steps = frozenset({"start a domain", "remove a file"})

    def places(self) -> list[Place]:
        # The UEFI variables and the overlay are the first files that are removed.
        return [place for place in super().places() if place[1] <= 2]
