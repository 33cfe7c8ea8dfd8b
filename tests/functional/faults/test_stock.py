# SPDX-License-Identifier: Apache-2.0
"""Faults in a stock rescue, which Nova's driver defines and starts."""

from stable_rescue.domain import recognize
from stable_rescue.domain.document import Domain
from tests.faults.engine import EveryFault
from tests.functional.faults.base import RowTestBase


class StockTestBase(RowTestBase):
    situation = "stock"

    def make_server(self) -> None:
        super().make_server()
        self.image = self.create_rescue_image()

    def assert_rescue_runs(self) -> None:
        self.assertTrue(self.observed()["running"])
        self.assertTrue(recognize.is_rescue(Domain.parse(self.live_definition())))
        self.assert_original_saved()


class StockRescueTest(EveryFault, StockTestBase):
    action, running = "rescue", True
    unique_steps = frozenset({"rescue as Nova's driver does"})
    other_steps = frozenset({"save the instance"})


class StockUnrescueTest(EveryFault, StockTestBase):
    action, running = "unrescue", False
    other_steps = frozenset({"power off", "define a domain"})
