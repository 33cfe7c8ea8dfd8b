# SPDX-License-Identifier: Apache-2.0
"""What nova-compute checks and reports when it starts."""

from unittest import mock

import fixtures
from nova import exception as nova_exception
from oslo_config import cfg, fixture
from oslotest import base

from stable_rescue import conf, nova_internals
from stable_rescue.virt import startup


class StartupTestBase(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.log = self.useFixture(fixtures.FakeLogger("stable_rescue"))

    def load(self, *lines: str) -> cfg.ConfigOpts:
        """Use the configuration of a file with these lines in [stable_rescue]."""
        text = "\n".join(("[stable_rescue]", *lines))
        path = self.create_tempfiles([("nova", text)])[0]
        options = cfg.ConfigOpts()
        self.useFixture(fixture.Config(options))
        conf.register_opts(options)
        options.register_opt(cfg.StrOpt("virt_type", default="kvm"), "libvirt")
        options(["--config-file", path], project="nova")
        self.useFixture(fixtures.MockPatchObject(startup, "CONF", options))
        return options


class OptionsTest(StartupTestBase):
    def test_values_that_are_not_allowed_stop_the_start(self) -> None:
        for line, named in (
            ("default_mode = satble", "default_mode"),
            ("fallback_buses = foo", "fallback_buses"),
            ("default_bus = firewire", "default_bus"),
            ("allow_gaps = perhaps", "allow_gaps"),
        ):
            self.load(line)
            error = self.assertRaises(
                nova_exception.InvalidConfiguration, startup.check_options
            )
            self.assertIn(f"[stable_rescue] {named}: ", str(error))
            self.assertIn(line.split()[-1], str(error))

    def test_every_wrong_option_is_named(self) -> None:
        self.load("default_mode = satble", "default_bus = firewire")
        error = self.assertRaises(
            nova_exception.InvalidConfiguration, startup.check_options
        )
        self.assertIn("default_mode", str(error))
        self.assertIn("default_bus", str(error))

    def test_number_that_is_not_allowed_is_replaced_and_logged(self) -> None:
        options = self.load("recovery_workers = 0", "stalled_after = 1000000000")
        startup.check_options()
        self.assertEqual(4, options.stable_rescue.recovery_workers)
        self.assertEqual(120, options.stable_rescue.stalled_after)
        for text in (
            "recovery_workers: ",
            "using its default, 4",
            "stalled_after: ",
            "using its default, 120",
        ):
            self.assertIn(text, self.log.output)

    def test_allowed_values_are_kept_without_a_word(self) -> None:
        options = self.load("recovery_workers = 8", "default_mode = stable")
        startup.check_options()
        self.assertEqual(8, options.stable_rescue.recovery_workers)
        self.assertEqual("", self.log.output)


class ReportTest(StartupTestBase):
    def report(self, nova: str, libvirt: int, hypervisor: int) -> str:
        """Report the versions of a host; return the log."""
        self.load()
        driver = mock.Mock()
        connection = driver._host.get_connection.return_value
        connection.getLibVersion.return_value = libvirt
        connection.getVersion.return_value = hypervisor
        with mock.patch.object(
            nova_internals.hosts.version, "version_string", return_value=nova
        ):
            startup.report(driver)
        return self.log.output

    def test_versions_are_logged_without_a_warning(self) -> None:
        text = self.report("34.0.0", 9_000_000, 7_002_022)
        for part in ("Nova 34.0.0", "libvirt 9.0.0", "kvm 7.2.22", "a stock rescue"):
            self.assertIn(part, text)
        self.assertNotIn("tested", text)

    def test_versions_that_were_not_tested_are_warned_of(self) -> None:
        for versions, warning in (
            (("30.1.0", 9_000_000, 7_002_000), "not with Nova 30.1.0"),
            (("35.0.0.0rc1", 9_000_000, 7_002_000), "not with Nova 35.0.0.0rc1"),
            (("34.0.0", 7_010_000, 7_002_000), "not with libvirt 7.10.0"),
            (("34.0.0", 9_000_000, 6_001_009), "not with QEMU 6.1.9"),
        ):
            self.assertIn(warning, self.report(*versions))

    def test_versions_that_cannot_be_read_do_not_stop_the_start(self) -> None:
        self.load()
        driver = mock.Mock()
        driver._host.get_connection.side_effect = OSError("no libvirt")
        startup.report(driver)
        self.assertIn("Could not read the versions", self.log.output)
