# SPDX-License-Identifier: Apache-2.0

"""Nova's unit tests of LibvirtDriver, run with StableRescueDriver."""

from stable_rescue.virt.driver import StableRescueDriver
from tests.nova import substitution

for module in ("test_driver", "test_blockinfo"):
    globals().update(
        substitution.cases(
            f"nova.tests.unit.virt.libvirt.{module}",
            "nova.virt.libvirt.driver.LibvirtDriver",
            StableRescueDriver,
            __name__,
        )
    )
