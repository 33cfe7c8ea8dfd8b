# SPDX-License-Identifier: Apache-2.0

"""Nova's unit tests of its compute manager, run with the manager of stable rescue.

Only the tests of methods that stable rescue overrides, or that rely on them, run.
"""

from typing import Any

from nova.virt import driver

from stable_rescue.compute.manager import ComputeManager
from stable_rescue.storage.known_rescue import KnownRescue
from stable_rescue.virt.driver import StableRescueDriver
from tests.nova import substitution

TESTS = "rescue|init_instance|init_host|error_state|error_out"


class StockRescueManager(ComputeManager):
    """The manager of stable rescue, with Nova's fake driver and its stock rescues."""

    def __new__(cls, *_args: Any, **_options: Any) -> Any:
        """Return this manager, although the fake driver does not take part yet."""
        return object.__new__(cls)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name in dir(StableRescueDriver):
            if "rescue" in name and not hasattr(driver.ComputeDriver, name):
                # The fake driver has no stable rescue to prepare, discard or recover.
                setattr(self.driver, name, lambda *_args, **_options: None)
        nothing_known = KnownRescue(None, has_record=False, is_lost=False)
        self.driver.known_rescue = lambda _instance: nothing_known


for module in ("test_compute", "test_compute_mgr"):
    globals().update(
        substitution.cases(
            f"nova.tests.unit.compute.{module}",
            "nova.compute.manager.ComputeManager",
            StockRescueManager,
            __name__,
            TESTS,
        )
    )
