# SPDX-License-Identifier: Apache-2.0
"""stable-rescue clean, with real files, a real libvirt client and a stub of Nova."""

import argparse
import contextlib
import json
import os
import shutil
import threading
import unittest
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import fixtures
from nova import objects
from oslo_concurrency import lockutils

from stable_rescue import nova_internals
from stable_rescue.cmd import clean
from stable_rescue.cmd.exits import NO_PERMISSION, NOT_ALL
from stable_rescue.storage import leftovers
from stable_rescue.storage.record import State
from tests.unit.cmd.conductor import ELSEWHERE, HERE, Conductor
from tests.unit.cmd.host import HostTestCase

HISTORY = "6c1f0a52-3a86-4d0b-8e0f-2f3f0b1c9a2a"
NOBODY = 65534  # the user id
FILES = ["disk.rescue", "unrescue.xml", "stable_rescue.json"]


class Pool:
    """A stub of Nova's driver for rbd."""

    def __init__(self, *images: str) -> None:
        self.images = list(images)
        self.in_use: set[str] = set()

    def cleanup_volumes(self, is_wanted: Callable[[str], bool]) -> None:
        wanted = [image for image in self.images if is_wanted(image)]
        for image in set(wanted) - self.in_use:
            self.images.remove(image)


class CleanTest(HostTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.options.append(f"host = {HERE}")
        self.conductor = self.useFixture(Conductor())
        record = self.add_server(state=State.RESCUED)
        self.rescue_xml = self.domains.pop()
        self.directory_ = self.directory(record)
        self.conductor.set_server(HISTORY, deleted=True)

    def clean(self, *words: str, status: int = 0) -> dict[str, tuple[str, str]]:
        """Return action and reason by the name of the leftover."""
        output = self.output("clean", *words, "-f", "json", status=status)
        rows = json.loads(output)["leftovers"]
        return {Path(r["leftover"]).name: (r["action"], r["reason"]) for r in rows}

    def present(self) -> list[str]:
        """Return the names of the files in the server's directory."""
        return sorted(path.name for path in self.directory_.iterdir())

    def assert_kept(self, reason: str) -> None:
        """Assert that nothing is removed, for a reason that is printed."""
        before = self.present()
        for words in ((), ("--yes",)):
            results = self.clean(*words)
            self.assertEqual(set(FILES), set(results))
            for action, given in results.values():
                self.assertEqual("kept", action)
                self.assertIn(reason, given)
        self.assertEqual(before, self.present())

    def test_leftovers_of_a_deleted_server_are_only_listed(self) -> None:
        before = self.present()
        actions = {name: action for name, (action, _reason) in self.clean().items()}
        self.assertEqual(dict.fromkeys(FILES, "remove"), actions)
        self.assertEqual(before, self.present())
        self.assertFalse((self.instances / "locks").exists())

    def test_leftovers_of_a_deleted_server_are_removed_with_yes(self) -> None:
        names = ("disk.config.rescue", "kernel.rescue", "ramdisk.rescue")
        for name in (*names, "overlay.vda.rescue"):
            (self.directory_ / name).touch()
        (self.directory_ / "nvram.rescue").touch()
        (self.directory_ / ".disk.rescue.new").touch()
        actions = {action for action, _reason in self.clean("--yes").values()}
        self.assertEqual({"removed"}, actions)
        self.assertFalse(self.directory_.exists())
        self.assertEqual({}, self.clean("--yes"))

    def test_other_files_of_the_server_stay(self) -> None:
        (self.directory_ / "disk").touch()
        self.clean("--yes")
        self.assertEqual(["disk"], self.present())

    def test_server_that_libvirt_has_is_not_looked_at(self) -> None:
        self.domains.append(self.rescue_xml)
        self.assertEqual({}, self.clean("--yes"))
        self.assertEqual(sorted(FILES), self.present())

    def test_server_that_nova_has_here_is_kept(self) -> None:
        self.conductor.set_server(HISTORY, deleted=False)
        self.assert_kept("the start of nova-compute recovers it")

    def test_server_that_nova_does_not_know_is_kept(self) -> None:
        """The server may be in another cell, on the same storage."""
        self.conductor.servers.clear()
        self.assert_kept("it was purged, or is in another cell")

    def test_deleted_server_of_another_host_is_kept(self) -> None:
        self.conductor.set_server(HISTORY, deleted=True, host=ELSEWHERE)
        self.assert_kept(f"last on host {ELSEWHERE}")

    def test_server_of_another_host_is_not_listed(self) -> None:
        """Hosts may share instances_path."""
        self.conductor.set_server(HISTORY, deleted=False, host=ELSEWHERE)
        self.assertEqual({}, self.clean("--yes"))
        self.assertEqual(sorted(FILES), self.present())

    def test_files_that_another_domain_names_are_kept(self) -> None:
        self.add_server("pc-scsi", state=None)
        xml = self.domains.pop()
        path = "/var/lib/nova/instances/b84c3f6e-9e0a-4a51-8d3c-51f3e2a76d2c/disk'"
        self.assertIn(path, xml)
        medium = f"{self.directory_}/disk.rescue'"
        self.domains.append(xml.replace(path, medium, 1))
        self.assert_kept("definition of another server")

    def test_server_is_read_again_before_the_removal(self) -> None:
        """The first command waits for the lock while the other one removes."""
        first_answer = threading.Event()
        held = threading.Event()
        path = str(self.instances / "locks")

        def hold() -> None:
            with lockutils.lock(
                "stable-rescue-clean",
                lock_file_prefix="nova-",
                external=True,
                lock_path=path,
            ):
                held.set()
                first_answer.wait(60)
                shutil.rmtree(self.directory_)

        other = threading.Thread(target=hold)
        other.start()
        self.assertTrue(held.wait(60))
        acquire = lockutils.lock

        @contextlib.contextmanager
        def announce(*args: Any, **options: Any) -> Any:
            first_answer.set()
            with acquire(*args, **options) as lock:
                yield lock

        with mock.patch.object(lockutils, "lock", announce):
            self.assertEqual({}, self.clean("--yes"))
        other.join(60)

    def test_two_commands_at_once_remove_everything_once(self) -> None:
        start = threading.Barrier(2)

        def command(_number: int) -> clean.Output:
            with nova_internals.read_only_connection() as connection:
                start.wait(60)
                options = argparse.Namespace(
                    yes=True, dumps_older_than=None, format="json"
                )
                return clean.run(options, connection)

        self.clean()  # reads the configuration
        with ThreadPoolExecutor(2) as threads:
            outputs = list(threads.map(command, range(2)))
        self.assertEqual([0, 0], [output.status for output in outputs])
        rows = [
            (Path(row["leftover"]).name, row["action"])
            for output in outputs
            for row in json.loads(output.text)["leftovers"]
        ]
        self.assertEqual(sorted((name, "removed") for name in FILES), sorted(rows))

    def test_file_that_cannot_be_removed_fails_alone(self) -> None:
        (self.directory_ / "disk.rescue").unlink()
        (self.directory_ / "disk.rescue").mkdir()
        results = self.clean("--yes", status=3)
        self.assertEqual("failed", results.pop("disk.rescue")[0])
        self.assertEqual({"removed"}, {action for action, _reason in results.values()})
        self.assertEqual(["disk.rescue"], self.present())

    def test_images_in_the_rbd_pool_are_removed(self) -> None:
        mine = [f"{HISTORY}_disk.rescue", f"{HISTORY}_disk.config.rescue"]
        other = "b84c3f6e-9e0a-4a51-8d3c-51f3e2a76d2c"
        self.conductor.set_server(other, deleted=False, host=ELSEWHERE)
        others = [f"{HISTORY}_disk", f"{other}_disk.rescue", "x_disk.rescue", "image"]
        pool = Pool(*mine, *others)
        self.options.append("[libvirt]\nimages_type = rbd\nimages_rbd_pool = vms")
        self.useFixture(
            fixtures.MockPatchObject(leftovers.rbd_utils, "RBDDriver", lambda: pool)
        )
        pool.in_use = {mine[1]}
        results = self.clean("--yes", status=3)
        self.assertEqual({*FILES, *mine}, set(results))
        self.assertEqual("removed", results[mine[0]][0])
        self.assertEqual("failed", results[mine[1]][0])
        self.assertIn("in use", results[mine[1]][1])
        self.assertEqual([mine[1], *others], pool.images)

    def test_conductor_that_does_not_answer_means_that_all_stays(self) -> None:
        error = nova_internals.NoAnswerError("no answer within 60 seconds")
        self.conductor.replace("instances_even_deleted", mock.Mock(side_effect=error))
        for words in (("clean",), ("clean", "--yes")):
            self.assert_fails(69, "no answer within 60", "is removed", words=words)
        self.assertEqual(sorted(FILES), self.present())

    def test_message_queue_without_configuration_is_named(self) -> None:
        error = ValueError("no transport_url")
        self.conductor.replace("connect_to_conductor", mock.Mock(side_effect=error))
        self.assert_fails(69, "conductor: no transport_url", words=("clean", "--yes"))

    def test_lvm_is_named_as_not_looked_at(self) -> None:
        self.options.append("[libvirt]\nimages_type = lvm\nimages_volume_group = vg")
        _status, _output, errors = self.run_command("clean")
        self.assertIn("LVM volumes are not looked at", errors)


class ConductorTest(HostTestCase):
    def test_conductor_that_hangs_is_not_waited_for(self) -> None:
        hanging = threading.Event()
        self.addCleanup(hanging.set)
        with (
            mock.patch.object(nova_internals.conductor, "CONF") as conf,
            mock.patch.object(
                objects.InstanceList,
                "get_by_filters",
                side_effect=lambda *_: hanging.wait(60),
            ),
        ):
            conf.rpc_response_timeout = 0.01
            self.assertRaisesRegex(
                nova_internals.NoAnswerError,
                "no answer within 0.01 seconds",
                nova_internals.instances_even_deleted,
                {HISTORY},
            )


@unittest.skipUnless(os.geteuid() == 0, "only root can become another user")
class RootTest(HostTestCase):
    """Root acts as the owner of instances_path, who could lead it elsewhere."""

    def setUp(self) -> None:
        super().setUp()
        # Other users cannot enter the usual temporary folder.
        self.folder = Path(self.useFixture(fixtures.TempDir(rootdir="/var/tmp")).path)
        self.folder.chmod(0o711)
        self.instances = self.folder / "instances"
        self.instances.mkdir()
        self.options = [f"instances_path = {self.instances}", f"host = {HERE}"]
        self.useFixture(Conductor()).set_server(HISTORY, deleted=True)
        self.directory_ = self.directory(self.add_server(state=State.RESCUED))
        self.domains.clear()
        for path in (self.instances, *self.instances.rglob("*")):
            os.chown(path, NOBODY, NOBODY)

    def names_in(self, folder: Path) -> list[str]:
        return sorted(path.name for path in folder.iterdir())

    def test_the_owner_gets_the_lock_and_loses_the_files(self) -> None:
        # QEMU's user owns the medium while libvirt's dynamic ownership is on.
        os.chown(self.directory_ / "disk.rescue", 0, 0)
        self.output("clean", "--yes")
        self.assertFalse(self.directory_.exists())
        locks = self.instances / "locks"
        owners = [path.stat().st_uid for path in (locks, *locks.iterdir())]
        self.assertEqual([NOBODY] * 2, owners)
        self.assertEqual((0, 0), (os.geteuid(), os.getegid()))

    def test_root_creates_nothing_through_a_symlink(self) -> None:
        target = self.folder / "target"
        (self.instances / "locks").mkdir()
        (self.instances / "locks" / "nova-stable-rescue-clean").symlink_to(target)
        status, _output, error = self.run_command("clean", "--yes")
        self.assertEqual(NO_PERMISSION, status)
        self.assertIn("nova-stable-rescue-clean: Permission denied", error)
        self.assertFalse(target.exists())
        self.assertEqual(sorted(FILES), self.names_in(self.directory_))

    def test_root_removes_nothing_through_a_symlink(self) -> None:
        target = self.folder / "target"
        self.directory_.rename(target)
        os.chown(target, 0, 0)
        self.directory_.symlink_to(target)
        self.output("clean", "--yes", status=NOT_ALL)
        self.assertEqual(sorted(FILES), self.names_in(target))
