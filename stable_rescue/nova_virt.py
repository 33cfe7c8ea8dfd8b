# SPDX-License-Identifier: Apache-2.0

"""What Nova imports as ``nova.virt.stable_rescue``.

Executed only when Nova loads the configured compute driver; see
``stable_rescue.activation``.
"""

from stable_rescue.virt.driver import StableRescueDriver

__all__ = ["StableRescueDriver"]
