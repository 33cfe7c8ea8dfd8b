# SPDX-License-Identifier: Apache-2.0
"""What Sphinx does not notice in the pages of the manual."""

import re
import unittest
from collections.abc import Iterator

from nova import conf as nova_conf

from lab import manual
from stable_rescue import conf

CONF = nova_conf.CONF

_LITERAL = re.compile(r"``([^`]+)``")
_OPTION = re.compile(r"\[(\w+)\]\s+(\w+)")
#: A cell or an item whose text is a bullet too, so that an empty list is shown.
_EMPTY_LIST = re.compile(r"^ *(?:\* )?[-*] [-*+]$", re.MULTILINE)
_TITLE = re.compile(r"\A(?:\.\. .*\n\n)?=+\n(.+)\n=+\n")
_FOLDERS = [
    "benchmarks",
    "doc",
    "devstack",
    "examples",
    "lab",
    "packaging",
    "releasenotes",
    "rescue-image",
    "stable_rescue",
    "tests",
    "tools",
]
#: Written by a program, and not in the repository.
_GENERATED = ("doc/build/",)


def texts() -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each page."""
    for page in manual.pages():
        yield str(page.relative_to(manual.ROOT)), page.read_text()


class PagesTest(unittest.TestCase):
    def test_named_files_exist(self) -> None:
        named = {
            (page, literal.split()[0])
            for page, text in texts()
            for literal in _LITERAL.findall(text)
            if literal.partition("/")[0] in _FOLDERS and "/" in literal
        }
        self.assertGreater(len(named), 50)
        missing = [
            (page, path)
            for page, path in sorted(named)
            if not path.startswith(_GENERATED) and not (manual.ROOT / path).exists()
        ]
        self.assertEqual([], missing)

    def test_named_options_exist(self) -> None:
        conf.register_opts(CONF)
        named = {
            (page, group, option)
            for page, text in texts()
            if not page.endswith("tempest.rst")  # The options are tempest's.
            for literal in _LITERAL.findall(text)
            for group, option in _OPTION.findall(literal)
        }
        self.assertGreater(len(named), 40)
        missing = [
            (page, group, option)
            for page, group, option in sorted(named)
            if option not in (CONF if group == "DEFAULT" else CONF[group])
        ]
        self.assertEqual([], missing)

    def test_each_option_belongs_to_a_task(self) -> None:
        page = manual.ROOT / "doc" / "source" / "configuration.rst"
        names = set(re.findall(r"``(\w+)(?: = [^`]+)?``", page.read_text()))
        self.assertEqual(set(), {option.name for option in conf.OPTIONS} - names)

    def test_no_cell_is_an_empty_list(self) -> None:
        found = [page for page, text in texts() if _EMPTY_LIST.search(text)]
        self.assertEqual([], found)

    def test_titles_differ(self) -> None:
        titles = [match[1] for _page, text in texts() if (match := _TITLE.match(text))]
        self.assertGreater(len(titles), 20)
        self.assertEqual(len(titles), len({title.lower() for title in titles}), titles)
