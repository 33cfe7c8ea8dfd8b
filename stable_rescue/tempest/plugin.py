# SPDX-License-Identifier: Apache-2.0
"""The way into tempest: an entry point of tempest.test_plugins."""

from __future__ import annotations

from pathlib import Path

from oslo_config import cfg
from tempest.test_discover import plugins

from stable_rescue.tempest import config

PACKAGE = Path(__file__).parents[1]


class StableRescuePlugin(plugins.TempestPlugin):
    """Tells tempest where the tests are and what can be set for them."""

    def load_tests(self) -> tuple[str, str]:
        """Return the folder of the tests, and the one that their names start from."""
        return str(PACKAGE / "tempest" / "tests"), str(PACKAGE.parent)

    def register_opts(self, conf: cfg.ConfigOpts) -> None:
        """Register [stable_rescue] with tempest's configuration."""
        conf.register_group(config.GROUP)
        conf.register_opts(config.OPTIONS, group=config.GROUP)

    def get_opt_lists(self) -> list[tuple[str, list[cfg.Opt]]]:
        """Return all options, for a sample of the configuration."""
        return [(config.GROUP.name, config.OPTIONS)]
