# SPDX-License-Identifier: Apache-2.0
"""A fault of each kind at one step: what the older releases run of the matrix."""

from tests.faults.engine import EveryFault
from tests.functional.faults.base import RowTestBase


class EachKindTest(EveryFault, RowTestBase):
    action, running = "rescue", True
    situation = "one step"
    other_steps = frozenset({"start a domain"})
