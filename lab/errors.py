# SPDX-License-Identifier: Apache-2.0
"""The one exception the lab raises on purpose."""


class LabError(Exception):
    """Something a person can act on: the message says what failed and what to do."""
