# SPDX-License-Identifier: Apache-2.0

"""Nova's own unit tests of its libvirt driver, with ours in its place."""

from stable_rescue.virt.driver import StableRescueDriver
from tests.nova import replaced

LIBVIRT_DRIVER = "nova.virt.libvirt.driver.LibvirtDriver"

for module in ("test_driver", "test_blockinfo"):
    globals().update(
        replaced.cases(
            f"nova.tests.unit.virt.libvirt.{module}",
            LIBVIRT_DRIVER,
            StableRescueDriver,
            __name__,
        )
    )
