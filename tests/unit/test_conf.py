# SPDX-License-Identifier: Apache-2.0
"""The options of the group [stable_rescue]."""

from oslo_config import cfg, fixture
from oslotest import base

from stable_rescue import conf


class OptionsTest(base.BaseTestCase):
    def load(self, *lines: str) -> cfg.ConfigOpts:
        """Return the configuration of a file with these lines in its group."""
        path = self.create_tempfiles([("nova", "\n".join(lines))])[0]
        options = cfg.ConfigOpts()
        self.useFixture(fixture.Config(options))
        conf.register_opts(options)
        options(["--config-file", path], project="nova")
        return options

    def test_old_name_of_stalled_after_is_accepted(self) -> None:
        options = self.load("[stable_rescue]", "abandoned_after = 30")
        self.assertEqual(30, options.stable_rescue.stalled_after)

    def test_registering_twice_changes_nothing(self) -> None:
        options = self.load()
        conf.register_opts(options)
        self.assertEqual(120, options.stable_rescue.stalled_after)
