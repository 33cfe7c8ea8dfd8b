# SPDX-License-Identifier: Apache-2.0
"""Options of [stable_rescue] in a part of a test."""

from typing import Any

import fixtures
from nova import conf as nova_conf

CONF = nova_conf.CONF


class Option(fixtures.Fixture):
    """Sets options of [stable_rescue] and puts the earlier values back."""

    def __init__(self, **values: Any) -> None:
        self._values = values

    def _setUp(self) -> None:
        for name, value in self._values.items():
            earlier = CONF.stable_rescue[name]
            CONF.set_override(name, value, "stable_rescue")
            self.addCleanup(CONF.set_override, name, earlier, "stable_rescue")
