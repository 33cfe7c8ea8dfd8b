# SPDX-License-Identifier: Apache-2.0
"""The plugin as tempest sees it: its options, its tests and when they are skipped."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import unittest
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from oslo_config import cfg, fixture
from tempest import config as tempest_config

from stable_rescue.tempest import findings, images, plugin
from stable_rescue.tempest.tests import (
    base,
    test_addresses,
    test_refusals,
    test_rescue,
)


def registered() -> cfg.ConfigOpts:
    """Return tempest's options and ours, nothing set."""
    conf = cfg.ConfigOpts()
    for group, options in tempest_config._opts:
        if group is not None:
            conf.register_group(group)
        conf.register_opts(options, group=group)
    plugin.StableRescuePlugin().register_opts(conf)
    conf([], default_config_files=[])
    return conf


class Groups:
    """Gives each group by the name that tempest gives it."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.conf = conf

    def __getattr__(self, name: str) -> object:
        return self.conf[name if name in self.conf else name.replace("_", "-")]


def all_tests() -> list[unittest.TestCase]:
    def walk(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
        for item in suite:
            if isinstance(item, unittest.TestSuite):
                yield from walk(item)
            else:
                yield item

    loader = unittest.TestLoader()
    modules = (test_addresses, test_refusals, test_rescue)
    return [test for m in modules for test in walk(loader.loadTestsFromModule(m))]


class OptionsTest(unittest.TestCase):
    def setUp(self) -> None:
        self.conf = self.enterContext(fixture.Config(registered())).conf

    def test_defaults_are_what_most_clouds_have(self) -> None:
        values = self.conf.stable_rescue
        self.assertEqual("console", values.read_guest_by)
        self.assertTrue(values.plan_and_rollback)
        self.assertIn("disk/usb", values.cases)

    def test_nonsense_is_refused(self) -> None:
        for name, value in (
            ("cases", ["disk/scuzzy"]),
            ("cases", ["usb"]),
            ("impossible_cases", ["tape/scsi"]),
            ("read_guest_by", "telepathy"),
            ("boot_timeout", 0),
        ):
            with self.assertRaises(ValueError, msg=f"{name} {value}"):
                self.conf.set_override(name, value, group="stable_rescue")

    def test_each_option_is_explained(self) -> None:
        ((_group, options),) = plugin.StableRescuePlugin().get_opt_lists()
        for option in options:
            self.assertGreater(len(option.help.split()), 5, option.name)


class TestsTest(unittest.TestCase):
    def test_tempest_finds_them(self) -> None:
        folder, top = plugin.StableRescuePlugin().load_tests()
        self.assertEqual(Path(base.__file__).parent, Path(folder))
        self.assertEqual(Path(top) / "stable_rescue", Path(folder).parents[1])
        self.assertGreater(len(all_tests()), 25)

    def test_each_has_an_id_of_its_own(self) -> None:
        ids = Counter(
            word
            for test in all_tests()
            for word in test.id().partition("[")[2].rstrip("]").split(",")
            if word.startswith("id-")
        )
        self.assertEqual(len(all_tests()), ids.total())
        self.assertEqual([], [word for word, number in ids.items() if number > 1])

    def test_tempests_own_check_has_no_complaint(self) -> None:
        command = [sys.executable, "-m", "tempest.lib.cmd.check_uuid"]
        command += ["--package", "stable_rescue.tempest.tests"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual((0, ""), (done.returncode, done.stdout), done.stderr)

    def test_numbers_of_findings_are_in_the_ids(self) -> None:
        found = {
            test.id().partition("[")[0].rpartition(".")[2]: findings.found_by(test.id())
            for test in all_tests()
        }
        self.assertEqual({"U1", "U2", "U33"}, set(found["test_disk_usb"]))
        self.assertEqual(["U18"], found["test_stopped_server_comes_back_stopped"])
        self.assertEqual(["U1"], found["test_two_rescues_with_different_images"])
        self.assertEqual([], found["test_unrescue_twice"])
        self.assertEqual(
            set(findings.FINDINGS),
            {number for some in found.values() for number in some},
        )

    def test_unknown_numbers_are_refused(self) -> None:
        with self.assertRaises(ValueError):
            findings.finds("U99")


class SkipTest(unittest.TestCase):
    """Each skip says which option would have the test run."""

    def setUp(self) -> None:
        self.config = self.enterContext(fixture.Config(registered()))
        for module in (base, test_refusals, test_rescue):
            self.enterContext(
                mock.patch.object(module, "CONF", Groups(self.config.conf))
            )

    def set(self, group: str, **values: object) -> None:
        self.config.config(group=group, **values)

    def skip(self, case: unittest.TestCase, name: str, *words: str) -> str:
        with self.assertRaises(unittest.SkipTest) as caught:
            getattr(case, name)(*words)
        return str(caught.exception)

    def test_cases_that_are_not_to_be_tried(self) -> None:
        self.set("stable_rescue", cases=["disk/usb"])
        test = test_addresses.ImageBackedTest("test_disk_usb")
        test.need_case("disk", "usb")
        self.assertIn(
            "[stable_rescue] cases", self.skip(test, "need_case", "disk", "scsi")
        )

    def test_images_that_are_not_given(self) -> None:
        test = test_addresses.ImageBackedTest("test_disk_usb")
        self.assertIn("disk_image", self.skip(test, "image_for", "disk", "usb"))
        self.assertIn("cdrom_image", self.skip(test, "image_for", "cdrom", "sata"))

    def test_guests_that_cannot_be_read(self) -> None:
        test = test_addresses.ImageBackedTest("test_disk_usb")
        self.assertIn("read_guest_by", self.skip(test, "need_reader"))

    def test_drivers_without_a_plan(self) -> None:
        self.set("stable_rescue", plan_and_rollback=False)
        test = test_refusals.RefusalTest("test_queued_image")
        self.assertIn("plan_and_rollback", self.skip(test, "test_queued_image"))

    def test_no_legacy_rescue(self) -> None:
        self.set("stable_rescue", legacy=False)
        test = test_rescue.RescueTest("test_legacy_rescue")
        self.assertIn("legacy", self.skip(test, "test_legacy_rescue"))

    def class_skip(self, case: type[unittest.TestCase]) -> str:
        with mock.patch.object(base.base.BaseV2ComputeTest, "skip_checks"):
            return self.skip(case, "skip_checks")

    def test_clouds_without_rescue(self) -> None:
        self.set("compute-feature-enabled", rescue=False)
        self.assertIn("rescue", self.class_skip(test_rescue.RescueTest))
        self.set("compute-feature-enabled", rescue=True, stable_rescue=False)
        self.assertIn("stable_rescue", self.class_skip(test_rescue.RescueTest))

    def test_clouds_without_volumes(self) -> None:
        self.set("compute-feature-enabled", rescue=True, stable_rescue=True)
        self.set("service_available", cinder=False)
        self.assertIn("cinder", self.class_skip(test_rescue.VolumeBackedTest))

    def test_ssh_without_validation(self) -> None:
        self.set("compute-feature-enabled", rescue=True, stable_rescue=True)
        self.set("stable_rescue", read_guest_by="ssh")
        self.set("validation", run_validation=False)
        self.assertIn("run_validation", self.class_skip(test_rescue.RescueTest))


class ImagesTest(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def test_a_path_is_taken_as_it_is(self) -> None:
        path = images.local_file(mock.sentinel.client, "/srv/rescue.iso", self.folder)
        self.assertEqual(Path("/srv/rescue.iso"), path)

    def test_an_image_is_downloaded_once(self) -> None:
        client = mock.Mock()
        answer = client.show_image_file.return_value
        answer.read.side_effect = [b"rescue", b" me", b""]
        for _time in range(2):
            path = images.local_file(client, "0c6e", self.folder)
            self.assertEqual(b"rescue me", path.read_bytes())
        client.show_image_file.assert_called_once_with("0c6e", chunked=True)
        answer.release_conn.assert_called_once_with()

    def test_half_a_download_is_none(self) -> None:
        client = mock.Mock()
        answer = client.show_image_file.return_value
        answer.read.side_effect = [b"res", OSError("reset")]
        with self.assertRaises(OSError):
            images.local_file(client, "0c6e", self.folder)
        self.assertFalse((self.folder / "0c6e").exists())
        answer.release_conn.assert_called_once_with()
