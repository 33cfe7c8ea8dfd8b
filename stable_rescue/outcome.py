# SPDX-License-Identifier: Apache-2.0
"""How the recovery of an interrupted rescue can end."""

import enum


class Outcome(enum.Enum):
    """The state of a server after its recovery."""

    #: The guest had not been touched yet.
    UNTOUCHED = enum.auto()
    #: The server has its original definition, in the power state it had before.
    RESTORED = enum.auto()
    #: The rescue system runs.
    RESCUED = enum.auto()
