# SPDX-License-Identifier: Apache-2.0
"""What a report consists of."""

import dataclasses
import enum


class Grade(enum.Enum):
    """How much a finding matters."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "PROBLEM"


@dataclasses.dataclass(frozen=True)
class Finding:
    """A line of the report, and what to do about it."""

    grade: Grade
    text: str
    hint: str = ""

    def __str__(self) -> str:
        lines = [f"{self.grade.value:<8} {self.text}"]
        lines += [f"{'':<8}   {line}" for line in self.hint.splitlines()]
        return "\n".join(lines)


def ok(text: str) -> Finding:
    """Return a finding that needs no repair."""
    return Finding(Grade.OK, text)


def note(text: str, hint: str = "") -> Finding:
    """Return a finding that may matter."""
    return Finding(Grade.NOTE, text, hint)


def problem(text: str, hint: str = "") -> Finding:
    """Return a finding that probably keeps the server from booting or working."""
    return Finding(Grade.PROBLEM, text, hint)
