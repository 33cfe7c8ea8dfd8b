# SPDX-License-Identifier: Apache-2.0
"""What a guest sees, and what two such views have in common.

The standard library is enough for it: the lab and its tests read guests with it, too.
"""

from stable_rescue.tempest.guest.comparison import Comparison, compare
from stable_rescue.tempest.guest.inventory import Inventory

__all__ = ["Comparison", "Inventory", "compare"]
