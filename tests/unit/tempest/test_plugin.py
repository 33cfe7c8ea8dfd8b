# SPDX-License-Identifier: Apache-2.0
"""The plugin's options, its tests, and the reasons for which tests are skipped."""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
import unittest
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from oslo_config import cfg, fixture
from tempest import config as tempest_config

from stable_rescue.tempest import findings, images, plugin
from stable_rescue.tempest.tests import (
    base,
    shared_server,
    test_addresses,
    test_refusals,
    test_rescue,
)
from tests.unit.tempest import cases


def default_options() -> cfg.ConfigOpts:
    """Return the options of tempest and of the plugin, with default group."""
    conf = cfg.ConfigOpts()
    for group, options in tempest_config._opts:
        if group is not None:
            conf.register_group(group)
        conf.register_opts(options, group=group)
    plugin.StableRescuePlugin().register_opts(conf)
    conf([], default_config_files=[])
    return conf


class Groups:
    """Gives access to the groups by the names that tempest's CONF has."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.conf = conf

    def __getattr__(self, name: str) -> object:
        return self.conf[name if name in self.conf else name.replace("_", "-")]


def all_tests() -> list[unittest.TestCase]:
    """Return all tests of the plugin."""

    def walk(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
        for item in suite:
            if isinstance(item, unittest.TestSuite):
                yield from walk(item)
            else:
                yield item

    loader = unittest.TestLoader()
    return [
        test
        for module in (test_addresses, test_refusals, test_rescue)
        for test in walk(loader.loadTestsFromModule(module))
    ]


class OptionsTest(unittest.TestCase):
    def setUp(self) -> None:
        self.conf = self.enterContext(fixture.Config(default_options())).conf

    def test_defaults_read_ordinary_guests_and_expect_checks(self) -> None:
        group = self.conf.stable_rescue
        self.assertEqual("ssh", group.read_guest_by)
        self.assertTrue(group.plan_and_rollback)
        self.assertIn("disk/usb", group.cases)

    def test_invalid_option_values_are_rejected(self) -> None:
        for name, value in (
            ("cases", ["disk/scuzzy"]),
            ("cases", ["usb"]),
            ("impossible_cases", ["tape/scsi"]),
            ("read_guest_by", "telepathy"),
            ("boot_timeout", 0),
        ):
            with self.assertRaises(ValueError, msg=f"{name} {value}"):
                self.conf.set_override(name, value, group="stable_rescue")

    def test_every_option_has_help(self) -> None:
        ((_group, options),) = plugin.StableRescuePlugin().get_opt_lists()
        for option in options:
            self.assertGreater(len(option.help.split()), 5, option.name)


class LoadTest(unittest.TestCase):
    def test_load_tests_returns_folder_and_top(self) -> None:
        folder, top = plugin.StableRescuePlugin().load_tests()
        self.assertEqual(Path(base.__file__).parent, Path(folder))
        self.assertEqual(Path(top) / "stable_rescue", Path(folder).parents[1])
        self.assertGreater(len(all_tests()), 25)

    def test_every_test_has_a_unique_idempotent_id(self) -> None:
        ids = Counter(
            word
            for test in all_tests()
            for word in test.id().partition("[")[2].rstrip("]").split(",")
            if word.startswith("id-")
        )
        self.assertEqual(len(all_tests()), ids.total())
        self.assertEqual([], [word for word, number in ids.items() if number > 1])

    def test_tempest_check_uuid_passes(self) -> None:
        command = [sys.executable, "-m", "tempest.lib.cmd.check_uuid"]
        command += ["--package", "stable_rescue.tempest.tests"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual((0, ""), (result.returncode, result.stdout), result.stderr)

    def test_ids_of_tests_have_numbers_of_findings(self) -> None:
        numbers = {
            test.id().partition("[")[0].rpartition(".")[2]: findings.found_by(test.id())
            for test in all_tests()
        }
        self.assertEqual(
            {"U1", "U2", "U33"}, set(numbers["test_disk_on_usb_moves_no_device"])
        )
        self.assertEqual(
            ["U18"], numbers["test_stopped_server_is_stopped_after_unrescue"]
        )
        self.assertEqual(["U1"], numbers["test_second_rescue_boots_second_image"])
        self.assertEqual([], numbers["test_unrescue_of_active_server_is_conflict"])
        self.assertEqual(
            set(findings.FINDINGS), set(itertools.chain(*numbers.values()))
        )

    def test_finds_with_unknown_number_raises_value_error(self) -> None:
        with self.assertRaises(ValueError):
            findings.finds("U1", "unknown")


class SkipTest(unittest.TestCase):
    """Every skip reason names the option that skips the test."""

    def setUp(self) -> None:
        self.config = self.enterContext(fixture.Config(default_options()))
        for module in (base, shared_server, test_refusals, test_rescue):
            self.enterContext(
                mock.patch.object(module, "CONF", Groups(self.config.conf))
            )

    def set(self, group: str, **values: object) -> None:
        self.config.config(group=group, **values)

    def skip_reason(self, function: Callable[..., Any], *args: str) -> str:
        with self.assertRaises(unittest.SkipTest) as caught:
            function(*args)
        return str(caught.exception)

    def class_skip_reason(self, case: type[base.BaseRescueTest]) -> str:
        with mock.patch.object(shared_server.base.BaseV2ComputeTest, "skip_checks"):
            return self.skip_reason(case.skip_checks)

    def test_case_that_is_not_in_cases_is_skipped(self) -> None:
        self.set("stable_rescue", cases=["disk/usb"])
        case = cases.rescue_case()
        case.require_case("disk", "usb")
        self.assertIn(
            "[stable_rescue] cases",
            self.skip_reason(case.require_case, "disk", "scsi"),
        )

    def test_first_case_of_device_is_chosen_or_test_skipped(self) -> None:
        self.set("stable_rescue", cases=["disk/usb", "cdrom/sata"])
        case = cases.rescue_case()
        self.assertEqual(("disk", "usb"), case.first_case())
        self.assertEqual(("cdrom", "sata"), case.first_case("cdrom"))
        self.assertIn("floppy", self.skip_reason(case.first_case, "floppy"))

    def test_rescue_image_without_option_is_skipped(self) -> None:
        rescue_image = cases.rescue_case().rescue_image
        self.assertIn("disk_image", self.skip_reason(rescue_image, "disk", "usb"))
        self.assertIn("cdrom_image", self.skip_reason(rescue_image, "cdrom", "sata"))

    def test_test_that_reads_guests_without_reader_is_skipped(self) -> None:
        require_reader = cases.rescue_case().require_reader
        self.assertIn("read_guest_by", self.skip_reason(require_reader))

    def test_refusal_without_plan_and_rollback_is_skipped(self) -> None:
        self.set("stable_rescue", plan_and_rollback=False)
        case = test_refusals.RefusalTest("test_queued_image_is_refused")
        reason = self.skip_reason(case.test_queued_image_is_refused)
        self.assertIn("plan_and_rollback", reason)

    def test_stock_rescue_without_legacy_is_skipped(self) -> None:
        self.set("stable_rescue", legacy=False)
        name = "test_image_without_properties_gives_stock_rescue"
        case = test_rescue.RescueTest(name)
        self.assertIn("legacy", self.skip_reason(getattr(case, name)))

    def test_class_in_cloud_without_rescue_is_skipped(self) -> None:
        self.set("compute-feature-enabled", rescue=False)
        reason = self.class_skip_reason(test_rescue.RescueTest)
        self.assertIn("] rescue is", reason)
        self.set("compute-feature-enabled", rescue=True, stable_rescue=False)
        reason = self.class_skip_reason(test_rescue.RescueTest)
        self.assertIn("] stable_rescue is", reason)

    def test_volume_backed_class_without_cinder_is_skipped(self) -> None:
        self.set("compute-feature-enabled", rescue=True, stable_rescue=True)
        self.set("service_available", cinder=False)
        reason = self.class_skip_reason(test_rescue.VolumeBackedTest)
        self.assertIn("cinder", reason)

    def test_class_with_ssh_without_validation_is_skipped(self) -> None:
        self.set("compute-feature-enabled", rescue=True, stable_rescue=True)
        self.set("validation", run_validation=False)
        reason = self.class_skip_reason(test_rescue.RescueTest)
        self.assertIn("run_validation", reason)


class ImagesTest(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def test_local_file_of_absolute_path_is_that_path(self) -> None:
        path = images.local_file(mock.sentinel.client, "/srv/rescue.iso", self.folder)
        self.assertEqual(Path("/srv/rescue.iso"), path)

    def test_local_file_of_image_is_downloaded_once(self) -> None:
        client = mock.Mock()
        response = client.show_image_file.return_value
        response.read.side_effect = [b"rescue", b" me", b""]
        for _time in range(2):
            path = images.local_file(client, "0c6e", self.folder)
            self.assertEqual(b"rescue me", path.read_bytes())
        client.show_image_file.assert_called_once_with("0c6e", chunked=True)
        response.release_conn.assert_called_once_with()

    def test_local_file_after_failed_download_is_missing(self) -> None:
        client = mock.Mock()
        response = client.show_image_file.return_value
        response.read.side_effect = [b"res", OSError("reset")]
        with self.assertRaises(OSError):
            images.local_file(client, "0c6e", self.folder)
        self.assertFalse((self.folder / "0c6e").exists())
        response.release_conn.assert_called_once_with()
