# SPDX-License-Identifier: Apache-2.0
"""libvirt and QEMU of another release of Debian."""

import pathlib
import tempfile
import unittest
from unittest import mock

from lab import hypervisor
from lab.config import Lab, Options
from lab.errors import LabError

RELEASE = "trixie"


class HypervisorTestBase(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.cache = pathlib.Path(folder.name)
        self.run_logged = self.patch("run_logged", side_effect=self.install)
        self.patch("CACHE", self.cache)
        self.patch("shutil.which", return_value="/usr/bin/mmdebstrap")

    def patch(self, name: str, *new: object, **options: object) -> mock.Mock:
        patcher = mock.patch(f"lab.hypervisor.{name}", *new, **options)
        self.addCleanup(patcher.stop)
        return patcher.start()

    def install(self, command: list[str], *_: object, **options: object) -> None:
        """Do as mmdebstrap does: the tree is the word before the archive."""
        (pathlib.Path(command[-2]) / "usr").mkdir(parents=True)

    def make(self) -> None:
        hypervisor.make(RELEASE, self.cache / "log")


class MakeTest(HypervisorTestBase):
    def test_release_is_made_once(self) -> None:
        self.assertFalse(hypervisor.is_complete(RELEASE))
        self.make()
        self.make()
        self.assertTrue(hypervisor.is_complete(RELEASE))
        self.assertEqual(1, self.run_logged.call_count)
        command = self.run_logged.call_args.args[0]
        self.assertIn(RELEASE, command)
        self.assertTrue((hypervisor.folder(RELEASE) / "usr").is_dir())
        self.assertEqual([hypervisor.folder(RELEASE)], list(self.cache.iterdir()))

    def test_release_is_made_again_if_it_needs_other_packages(self) -> None:
        self.make()
        (hypervisor.folder(RELEASE) / "old").touch()
        self.patch("PACKAGES", ("qemu-system-x86",))
        self.assertFalse(hypervisor.is_complete(RELEASE))
        self.make()
        self.assertFalse((hypervisor.folder(RELEASE) / "old").exists())

    def test_failure_leaves_the_folder_as_it_was(self) -> None:
        self.run_logged.side_effect = LabError("no network")
        self.assertRaisesRegex(LabError, "no network", self.make)
        self.assertEqual([], list(self.cache.iterdir()))

    def test_missing_tool_is_named(self) -> None:
        hypervisor.shutil.which.return_value = None
        self.assertRaisesRegex(LabError, "apt-get install mmdebstrap", self.make)


class EnterTest(HypervisorTestBase):
    def lab(self, release: str, *, mounted: bool) -> Lab:
        lab = Lab(self.cache, Options(hypervisor=release))
        lab.sandbox = mock.Mock()
        lab.sandbox.run.return_value.returncode = 0 if mounted else 1
        return lab

    def test_programs_of_this_machine_need_nothing(self) -> None:
        lab = self.lab("", mounted=False)
        self.assertEqual([], hypervisor.enter(lab))
        lab.sandbox.run.assert_not_called()

    def test_release_that_was_not_made_is_refused(self) -> None:
        lab = self.lab(RELEASE, mounted=False)
        with self.assertRaisesRegex(LabError, "lab.hypervisor make trixie"):
            hypervisor.enter(lab)

    def test_folder_is_mounted_once(self) -> None:
        self.make()
        lab = self.lab(RELEASE, mounted=True)
        self.assertEqual(["chroot", hypervisor.ROOT], hypervisor.enter(lab))
        self.assertEqual(1, lab.sandbox.run.call_count)

    def test_everything_but_programs_is_bound_from_the_sandbox(self) -> None:
        self.make()
        lab = self.lab(RELEASE, mounted=False)
        hypervisor.enter(lab)
        commands = [call.args[0] for call in lab.sandbox.run.call_args_list]
        bound = {
            command[-1]
            for command in commands
            if command[:2] in (["mount", "--bind"], ["mount", "--rbind"])
        }
        for name in ("dev", "etc", "run", "var"):
            self.assertIn(f"{hypervisor.ROOT}/{name}", bound)
        self.assertNotIn(f"{hypervisor.ROOT}/usr", bound)
        # The folder is in /run.
        self.assertNotIn(["mount", "--rbind", "/run"], [each[:3] for each in commands])
