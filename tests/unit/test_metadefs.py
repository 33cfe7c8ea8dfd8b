# SPDX-License-Identifier: Apache-2.0
"""The metadata definitions for Glance agree with the code."""

import json
from pathlib import Path

from oslotest import base

from stable_rescue import properties

METADEFS = Path(__file__).parents[2] / "etc" / "stable_rescue" / "metadefs"


class MetadefsTest(base.BaseTestCase):
    def test_definitions_have_every_property_with_its_values(self) -> None:
        (file,) = METADEFS.iterdir()
        defined = json.loads(file.read_text())["properties"]
        self.assertEqual(
            {name: list(values) for name, values in properties.ALLOWED.items()},
            {name: each["enum"] for name, each in defined.items()},
        )
