# SPDX-License-Identifier: Apache-2.0
"""Citations in the tree lead to sections of the manual.

A citation is the letter U (a difference from stock rescue), F (a fact about libvirt) or
E (an edit) with one or two digits. A letter with three digits is a code of a linter. If
other letters or digits are next to it, it is a part of a name.
"""

import ast
import re
import subprocess
import unittest
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "doc" / "source" / "contributor"

_CITATION = re.compile(r"(?<![\w.#/-])[UFE][1-9]\d?(?![\w-])")
_LABEL = re.compile(r"^\.\. _([UFE]\d+):$", re.MULTILINE)
_RANGE = re.compile(r"\b([UFE])1\s+to\s+\1(\d+)")
_TEST = re.compile(r"``(tests\.[\w.]+)``")

#: By file: no citations, and why.
_NO_CITATIONS = {
    "tests/unit/tempest/test_plugin.py": {"U99"},  # a number that does not exist
}
#: Numbers of planned work: nothing relies on them yet.
_PLANNED = {"F25"}
#: Names of documents that are not in the repository.
_UNKNOWN = re.compile(r"\b(UPSTREAM|LIBVIRT|(DESIGN|LAB|STYLE|VOICE)\.md)\b")


def tree() -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each file in the repository but this one."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, check=True
    )
    for name in listed.stdout.decode().split("\0"):
        path = ROOT / name
        if not path.is_file() or path == Path(__file__).resolve():
            continue
        try:
            yield name, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # an image


class CitationsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        if not (ROOT / ".git").exists():
            raise unittest.SkipTest("the files of the tree are listed by git")
        cls.files = dict(tree())
        cls.pages = {
            name: text
            for name, text in cls.files.items()
            if (ROOT / name).parent == PAGES and name.endswith(".rst")
        }
        labels = [
            label for page in cls.pages.values() for label in _LABEL.findall(page)
        ]
        cls.defined = set(labels)
        assert len(labels) == len(cls.defined), "a number is defined twice"

    def cited(self, *, in_pages: bool) -> dict[str, str]:
        """Return what is cited, each number with one place."""
        return {
            number: f"{name}:{line}"
            for name, text in self.files.items()
            if in_pages or name not in self.pages
            for line, content in enumerate(text.splitlines(), 1)
            for number in _CITATION.findall(content)
            if number not in _NO_CITATIONS.get(name, ())
        }

    def test_cited_numbers_are_defined(self) -> None:
        cited = self.cited(in_pages=True)
        self.assertEqual({}, {n: p for n, p in cited.items() if n not in self.defined})

    def test_defined_numbers_are_cited(self) -> None:
        cited = self.cited(in_pages=False)
        self.assertEqual(set(), self.defined - cited.keys() - _PLANNED)

    def test_planned_numbers_are_defined_and_not_cited_yet(self) -> None:
        self.assertLessEqual(_PLANNED, self.defined)
        self.assertEqual(set(), _PLANNED & self.cited(in_pages=False).keys())

    def test_ranges_of_numbers_end_with_the_last_one(self) -> None:
        ranges = [
            (name, letter, int(last))
            for name, text in self.files.items()
            if name.endswith(".rst")
            for letter, last in _RANGE.findall(text)
        ]
        self.assertGreater(len(ranges), 1)
        for name, letter, last in ranges:
            numbers = [int(each[1:]) for each in self.defined if each[0] == letter]
            self.assertEqual(max(numbers), last, name)

    def test_named_tests_exist(self) -> None:
        missing = [
            f"{name}: {test}"
            for name, text in self.files.items()
            if name.startswith("doc/source/")
            for test in _TEST.findall(text)
            if not self._exists(test)
        ]
        self.assertEqual([], missing)

    def _exists(self, test: str) -> bool:
        """Return True if a dotted name is a module, a package, or a class in one."""
        path = ROOT.joinpath(*test.split("."))
        if path.is_dir() or path.with_suffix(".py").is_file():
            return True
        module, _, class_name = test.rpartition(".")
        source = self.files.get(f"{module.replace('.', '/')}.py", "")
        return any(
            isinstance(node, ast.ClassDef) and node.name == class_name
            for node in ast.parse(source).body
        )

    def test_no_document_outside_the_repository_is_named(self) -> None:
        citing = [
            f"{name}:{line}: {content.strip()}"
            for name, text in self.files.items()
            for line, content in enumerate(text.splitlines(), 1)
            if _UNKNOWN.search(content)
        ]
        self.assertEqual([], citing)
