# SPDX-License-Identifier: Apache-2.0
"""Screens in documents, compared with what a command prints."""

import re


def lines_of(block: str) -> str:
    """Return an indented block of a document as text without the indentation."""
    lines = [line.removeprefix("    ") for line in block.strip("\n").splitlines()]
    return "\n".join(lines) + "\n"


def difference(shown: str, printed: str) -> tuple[str, str]:
    """Return the first part of a screen that was not printed, and the output's rest.

    Both are empty if the screen is real. In the screen, a line of three dots stands for
    lines that are left out.
    """
    rest = "\n" + printed
    for part in re.split(r"(?m)^\.\.\.$", shown):
        wanted = "\n" + part.strip("\n") + "\n"
        if wanted not in rest:
            return wanted, rest
        rest = "\n" + rest.partition(wanted)[2]
    return "", rest.strip("\n")
