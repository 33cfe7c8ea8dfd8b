# SPDX-License-Identifier: Apache-2.0
"""The commands that the documents show, for the test and the scene that run them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# A paragraph that ends with two colons begins a block of commands. If it begins with
# two dots, it is a directive, and its language follows.
_PLAIN = re.compile(r"^( *(?:(?:[*-]|\d+\.|#\.) +)?)(?!\.\. )(?:\S.*)?::$")
_CONSOLE = re.compile(r"^( *)\.\. code-block:: (?:console|shell|bash|sh)$")
_COMMENT = re.compile(r"(^|\s+)#(\s.*)?$")
_PROGRAMS = (
    *("openstack", "stable-rescue", "stable-rescue-status", "python", "python3"),
    *(
        "tools/lab",
        "tools/bench",
        "tools/test",
        "tools/release",
        "tox",
        "pip",
        "reno",
        "virsh",
    ),
)
_INLINE = re.compile(rf"``((?:{'|'.join(_PROGRAMS)})\s[^`]+)``")


def pages() -> list[Path]:
    """Return the documents of the project, but not the release notes."""
    found = [*ROOT.glob("*.rst"), *(ROOT / "doc" / "source").rglob("*.rst")]
    return sorted([*found, *(ROOT / each / "README.rst" for each in _FOLDERS)])


_FOLDERS = ("devstack", "examples")


def commands(text: str) -> list[str]:
    """Return the commands in the blocks of a page, each on one line.

    A block is one without a language, or with a shell's. If lines of a block begin with
    a dollar sign, the others are output.
    """
    found = []
    for block in _blocks(text):
        lines = iter(block)
        is_screen = any(line.startswith("$ ") for line in block)
        for line in lines:
            if is_screen and not line.startswith("$ "):
                continue
            command = line.removeprefix("$ ")
            while command.endswith("\\"):
                command = command.removesuffix("\\") + next(lines)
            while command.startswith("until ") and not command.endswith("done"):
                command = f"{command}; {next(lines)}"
            command = " ".join(_COMMENT.sub("", command).split())
            if command:
                found.append(command)
    return found


def inline_commands(text: str) -> list[str]:
    """Return the commands in the sentences and tables of a page, each on one line."""
    return [" ".join(command.split()) for command in _INLINE.findall(text)]


def _blocks(text: str) -> Iterator[list[str]]:
    """Yield the lines of each block of commands, without their indentation."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        head = _PLAIN.match(line) or _CONSOLE.match(line)
        if head is None:
            continue
        block = []
        for each in lines[number + 1 :]:
            if each.strip() and len(each) - len(each.lstrip()) <= len(head[1]):
                break
            block.append(each)
        indents = [len(each) - len(each.lstrip()) for each in block if each.strip()]
        if indents:
            yield [each[min(indents) :] for each in block]
