# SPDX-License-Identifier: Apache-2.0
"""The DevStack plugin, with DevStack's functions replaced by ones that print.

Functions and phases have the names of DevStack's plugin contract.
"""

import subprocess
import unittest
from pathlib import Path

DEVSTACK = Path(__file__).resolve().parents[2] / "devstack"

#: DevStack's functions, and the variables that it sets before it sources a plugin.
_STUBS = """
set -eu
DEST=/opt/stack NOVA_CONF=nova.conf TEMPEST_CONFIG=tempest.conf
GLANCE_BIN_DIR=glance-bin GLANCE_CONF_DIR=/etc/glance
is_service_enabled() { [[ " $SERVICES " == *" $1 "* ]]; }
echo_summary() { :; }
setup_develop() { echo "setup_develop $*"; }
iniset() { echo "iniset $*"; }
inidelete() { echo "inidelete $*"; }
glance-bin/glance-manage() { echo "glance-manage $*"; }
source override-defaults
source settings
"""
ALL = "n-cpu g-api tempest"


class PluginTest(unittest.TestCase):
    def run_plugin(self, call: str, services: str = ALL, before: str = "") -> list[str]:
        """Return what the plugin has DevStack do, a line each."""
        script = f"SERVICES='{services}' {before}\n{_STUBS}\nsource plugin.sh {call}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=DEVSTACK,
            check=True,
            capture_output=True,
            text=True,
        )
        self.assertEqual("", done.stderr)
        return done.stdout.splitlines()

    def test_plugin_is_installed_on_compute_hosts_only(self) -> None:
        self.assertEqual(
            ["setup_develop /opt/stack/stable_rescue"], self.run_plugin("stack install")
        )
        self.assertEqual([], self.run_plugin("stack install", "g-api tempest"))

    def test_driver_and_metadata_definitions_are_configured(self) -> None:
        compute = [
            "iniset nova.conf DEFAULT compute_driver stable_rescue.StableRescueDriver",
            "iniset nova.conf stable_rescue default_mode legacy",
        ]
        glance = [
            "glance-manage --config-file /etc/glance/glance-api.conf db_load_metadefs "
            "/opt/stack/stable_rescue/etc/stable_rescue/metadefs"
        ]
        self.assertEqual(compute + glance, self.run_plugin("stack post-config"))
        self.assertEqual(compute, self.run_plugin("stack post-config", "n-cpu"))

    def test_tempest_knows_the_default_mode(self) -> None:
        for mode, legacy in (("legacy", "True"), ("stable", "False")):
            lines = self.run_plugin(
                "stack test-config", before=f"STABLE_RESCUE_DEFAULT_MODE={mode}"
            )
            self.assertIn(f"iniset tempest.conf stable_rescue legacy {legacy}", lines)
        self.assertEqual([], self.run_plugin("stack test-config", "n-cpu"))

    def test_tempest_plugin_is_added_to_those_of_the_user(self) -> None:
        for before, plugins in (
            ("", " /opt/stack/stable_rescue"),
            ("TEMPEST_PLUGINS=0", " /opt/stack/stable_rescue"),
            ("TEMPEST_PLUGINS=/other", "/other /opt/stack/stable_rescue"),
        ):
            script = f"DEST=/opt/stack {before}\nsource override-defaults"
            done = subprocess.run(
                ["bash", "-euc", f'{script}\necho "$TEMPEST_PLUGINS"'],
                cwd=DEVSTACK,
                check=True,
                capture_output=True,
                text=True,
            )
            self.assertEqual(plugins, done.stdout.rstrip("\n"))

    def test_clean_goes_back_to_the_driver_of_nova(self) -> None:
        self.assertIn(
            "inidelete nova.conf DEFAULT compute_driver", self.run_plugin("clean")
        )

    def test_other_phases_do_nothing(self) -> None:
        for call in ("stack pre-install", "stack extra", "unstack"):
            self.assertEqual([], self.run_plugin(call))
