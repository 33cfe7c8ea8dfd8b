# SPDX-License-Identifier: Apache-2.0

"""The module that Nova imports as ``nova.virt.stable_rescue``.

Nova imports it only if ``compute_driver`` names StableRescueDriver; see
``stable_rescue.activation``.
"""

from stable_rescue.virt.driver import StableRescueDriver

__all__ = ["StableRescueDriver"]
