# SPDX-License-Identifier: Apache-2.0

"""Nova's own unit tests of its compute manager, with ours in its place.

Of those, what our manager has a hand in.
"""

from typing import Any

from stable_rescue.compute.manager import ComputeManager
from tests.nova import replaced

COMPUTE_MANAGER = "nova.compute.manager.ComputeManager"
TESTS = "rescue|init_instance|init_host|error_state|error_out"


class OverNovasDriver(ComputeManager):
    """Our manager over Nova's fake driver, whose rescues are Nova's own."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.driver.prepare_rescue = lambda *_args: False
        self.driver.ran_before_rescue = lambda _instance: None


for module in ("test_compute", "test_compute_mgr"):
    globals().update(
        replaced.cases(
            f"nova.tests.unit.compute.{module}",
            COMPUTE_MANAGER,
            OverNovasDriver,
            __name__,
            TESTS,
        )
    )
