# SPDX-License-Identifier: Apache-2.0
"""The runbook has every message that nova-compute logs at WARNING and above."""

import ast
import re
import unittest
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "doc" / "source" / "runbook.rst"

_LEVELS = ("warning", "error", "exception", "critical")
_FIRST_CELL = re.compile(r"(?m)^   \* - ``(.+)``$")
#: What follows the beginning of a message: a placeholder or a stop, and the rest.
_REST = re.compile(r"\s*(%[^%]|[;:,(]|\. |: ).*", re.DOTALL)


def messages(path: Path) -> Iterator[str]:
    """Yield the messages of a module at WARNING and above."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name("LOG"), attr=level),
                args=[first, *_],
            ) if level in _LEVELS:
                match first:
                    case ast.Constant(text):
                        yield text
                    case ast.Name(name):
                        yield constants[name]
                    case _:
                        raise AssertionError(f"{path}:{node.lineno}: not a literal")


class RunbookTest(unittest.TestCase):
    def logged(self) -> set[str]:
        """Return the beginning of each message."""
        return {
            _REST.sub("", message)
            for path in (ROOT / "stable_rescue").rglob("*.py")
            # Commands and the tempest plugin write to their own users.
            if not {"cmd", "tempest"} & {*path.relative_to(ROOT).parts}
            for message in messages(path)
        }

    def test_runbook_has_exactly_the_messages_of_the_code(self) -> None:
        found = _FIRST_CELL.findall(PAGE.read_text(encoding="utf-8"))
        self.assertEqual(sorted(self.logged()), sorted(found))

    def test_beginnings_are_long_enough_to_be_found(self) -> None:
        short = {text for text in self.logged() if len(text) < 12}
        self.assertEqual({"Ignoring", "Leaving", "Rescue"}, short)
