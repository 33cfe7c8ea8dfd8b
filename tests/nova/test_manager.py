# SPDX-License-Identifier: Apache-2.0

"""Nova's own unit tests of its compute manager, with ours in its place.

Of those, what our manager has a hand in.
"""

from typing import Any

from nova.virt import driver

from stable_rescue.compute.manager import ComputeManager
from stable_rescue.virt.driver import StableRescueDriver
from tests.nova import replaced

COMPUTE_MANAGER = "nova.compute.manager.ComputeManager"
TESTS = "rescue|init_instance|init_host|error_state|error_out"


class OverNovasDriver(ComputeManager):
    """Our manager over Nova's fake driver, whose rescues are Nova's own."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name in dir(StableRescueDriver):
            if "rescue" in name and not hasattr(driver.ComputeDriver, name):
                # It has prepared none, knows of none, and has none to settle.
                setattr(self.driver, name, lambda *_args, **_options: None)


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
