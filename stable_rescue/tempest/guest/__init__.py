# SPDX-License-Identifier: Apache-2.0
"""The devices that a guest sees, and the comparison of two such views.

The package needs only the standard library, because the lab reads guests with it too.
"""

from stable_rescue.tempest.guest.comparison import Comparison, compare
from stable_rescue.tempest.guest.inventory import Inventory

__all__ = ["Comparison", "Inventory", "compare"]
