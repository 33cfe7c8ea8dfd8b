# SPDX-License-Identifier: Apache-2.0
"""How a command of stable-rescue ends: its output, its exit status, its error."""

import importlib.metadata
import sys
from dataclasses import dataclass

from stable_rescue import exception

# The exit statuses; those from 64 on are from sysexits.h.
SUCCESS = 0
NOT_FOUND = 1
REFUSED = 2
NOT_ALL = 3
USAGE = 64
UNAVAILABLE = 69
BUG = 70
NO_OUTPUT = 74
NO_PERMISSION = 77
WRONG_CONFIGURATION = 78
INTERRUPTED = 130  # as a shell reports SIGINT


@dataclass(frozen=True)
class Output:
    """What a command prints, and the exit status if it can be printed."""

    text: str
    status: int = SUCCESS


class CommandError(exception.StableRescueError):
    """A command cannot do its work; the text is the reason for the operator."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def too_old_nova() -> str | None:
    """Return that Nova is too old; None if it is not, or is not installed."""
    oldest = 31
    try:
        version = importlib.metadata.version("nova")
    except importlib.metadata.PackageNotFoundError:
        return None
    major = version.partition(".")[0]
    if not major.isdecimal() or int(major) >= oldest:
        return None
    return (
        f"Nova {version} in {sys.prefix} is too old: stable_rescue needs Nova "
        f"{oldest} or later"
    )
