# SPDX-License-Identifier: Apache-2.0
"""The entry point of tempest.test_plugins."""

from __future__ import annotations

from pathlib import Path

from oslo_config import cfg
from tempest.test_discover import plugins

from stable_rescue.tempest import config

PACKAGE = Path(__file__).parents[1]


class StableRescuePlugin(plugins.TempestPlugin):
    """Gives tempest the plugin's tests and options."""

    def load_tests(self) -> tuple[str, str]:
        """Return the folder of the tests and the folder that their names start from."""
        return str(PACKAGE / "tempest" / "tests"), str(PACKAGE.parent)

    def register_opts(self, conf: cfg.ConfigOpts) -> None:
        """Register the options of [stable_rescue]."""
        conf.register_group(config.GROUP)
        conf.register_opts(config.OPTIONS, group=config.GROUP)

    def get_opt_lists(self) -> list[tuple[str, list[cfg.Opt]]]:
        """Return the options by group, for a sample configuration file."""
        return [(config.GROUP.name, config.OPTIONS)]
