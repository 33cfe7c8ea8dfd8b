# SPDX-License-Identifier: Apache-2.0
"""The exception that the lab raises for failures that a user can act on."""


class LabError(Exception):
    """The message says what failed and what to do about it."""
