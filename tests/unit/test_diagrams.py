# SPDX-License-Identifier: Apache-2.0
"""The committed drawings of the manual are those that their program draws."""

import importlib.util
import unittest
from pathlib import Path

PROGRAM = Path(__file__).resolve().parents[2] / "doc/source/contributor/diagrams.py"


class DiagramsTest(unittest.TestCase):
    def test_each_drawing_is_up_to_date(self) -> None:
        spec = importlib.util.spec_from_file_location("diagrams", PROGRAM)
        assert spec is not None and spec.loader is not None
        diagrams = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(diagrams)
        for name, draw in diagrams.DIAGRAMS.items():
            with self.subTest(name):
                committed = PROGRAM.with_name(name).read_text(encoding="utf-8")
                self.assertEqual(committed, draw())
