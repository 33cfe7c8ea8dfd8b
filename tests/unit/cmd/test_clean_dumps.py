# SPDX-License-Identifier: Apache-2.0
"""stable-rescue clean and the memory dumps of servers, which are evidence."""

import json
import os
import time
from pathlib import Path

from stable_rescue.storage.record import State
from tests.unit.cmd.conductor import ELSEWHERE, HERE, Conductor
from tests.unit.cmd.host import HostTestCase

GONE = "a3f1c2d4-5b6e-4789-8abc-def012345678"
DAY = 24 * 60 * 60


class CleanDumpsTest(HostTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.dumps = self.folder / "dumps"
        self.dumps.mkdir(mode=0o700)
        self.options += [
            f"host = {HERE}",
            f"[stable_rescue]\nmemory_dump_path = {self.dumps}",
        ]
        self.conductor = self.useFixture(Conductor())
        self.conductor.set_server(GONE, deleted=True)

    def add_dump(
        self, days: float, name: str = f"{GONE}-20260101T000000Z.dump"
    ) -> Path:
        """Write the dump of a server that is as many days old."""
        path = self.dumps / name
        path.write_bytes(b"memory")
        then = time.time() - days * DAY
        os.utime(path, (then, then))
        return path

    def clean(self, *words: str) -> dict[str, tuple[str, str]]:
        """Return action and reason by the name of the leftover."""
        rows = json.loads(self.output("clean", *words, "-f", "json"))["leftovers"]
        return {Path(r["leftover"]).name: (r["action"], r["reason"]) for r in rows}

    def assert_kept(self, path: Path, reason: str, *words: str) -> None:
        """Assert that a dump is listed and stays, for a reason that is printed."""
        action, given = self.clean("--yes", *words)[path.name]
        self.assertEqual("kept", action)
        self.assertIn(reason, given)
        self.assertTrue(path.exists())

    def test_dump_is_listed_and_kept_unless_it_is_asked_for(self) -> None:
        path = self.add_dump(days=1000)
        self.assert_kept(path, "evidence")
        (row,) = json.loads(self.output("clean", "-f", "json"))["leftovers"]
        self.assertEqual((GONE, 6), (row["server"], row["size_bytes"]))

    def test_old_dump_is_removed_if_age_and_yes_are_given(self) -> None:
        path = self.add_dump(days=91)
        words = ("--dumps-older-than", "90")
        self.assertEqual("remove", self.clean(*words)[path.name][0])
        self.assertTrue(path.exists())
        self.assertEqual("removed", self.clean(*words, "--yes")[path.name][0])
        self.assertEqual([], [*self.dumps.iterdir()])
        self.assertEqual({}, self.clean(*words, "--yes"))

    def test_younger_dump_is_kept(self) -> None:
        path = self.add_dump(days=89)
        self.assert_kept(path, "90 days", "--dumps-older-than", "90")

    def test_dump_of_a_server_that_nova_has_is_kept(self) -> None:
        path = self.add_dump(days=91)
        self.conductor.set_server(GONE, deleted=False)
        self.assert_kept(path, "Nova has the server", "--dumps-older-than", "0")

    def test_dump_of_a_server_on_another_host_is_not_listed(self) -> None:
        """The server was migrated after its dump, or hosts share the folder."""
        path = self.add_dump(days=91)
        self.conductor.set_server(GONE, deleted=False, host=ELSEWHERE)
        self.assertEqual({}, self.clean("--yes", "--dumps-older-than", "0"))
        self.assertTrue(path.exists())

    def test_dump_of_a_server_that_nova_purged_is_kept(self) -> None:
        path = self.add_dump(days=91)
        self.conductor.servers.clear()
        self.assert_kept(path, "it was purged", "--dumps-older-than", "0")

    def test_dump_of_a_server_deleted_elsewhere_is_removed(self) -> None:
        """The file is here, wherever the server was migrated to."""
        path = self.add_dump(days=91)
        self.conductor.set_server(GONE, deleted=True, host=ELSEWHERE)
        results = self.clean("--yes", "--dumps-older-than", "90")
        self.assertEqual("removed", results[path.name][0])
        self.assertFalse(path.exists())

    def test_dump_of_a_server_that_libvirt_has_is_not_listed(self) -> None:
        uuid = self.directory(self.add_server(state=State.RESCUED)).name
        path = self.add_dump(1000, f"{uuid}-20260101T000000Z.dump")
        self.conductor.set_server(uuid, deleted=True)
        self.assertEqual({}, self.clean("--yes", "--dumps-older-than", "0"))
        self.assertTrue(path.exists())

    def test_incomplete_dump_is_removed_like_other_files(self) -> None:
        path = self.add_dump(0, f".{GONE}-20260101T000000Z.dump.new")
        self.assertEqual("removed", self.clean("--yes")[path.name][0])
        self.assertFalse(path.exists())
        self.assertTrue(self.dumps.exists())

    def test_incomplete_dump_of_another_host_is_kept(self) -> None:
        """QEMU on that host may still write the dump."""
        path = self.add_dump(91, f".{GONE}-20260101T000000Z.dump.new")
        self.conductor.set_server(GONE, deleted=True, host=ELSEWHERE)
        self.assert_kept(path, f"last on host {ELSEWHERE}", "--dumps-older-than", "0")

    def test_other_files_of_the_folder_are_not_looked_at(self) -> None:
        name = f"{GONE}-20260101T000000Z.dump"
        others = ("notes.txt", f".{name}", f"{name}.new", f"{GONE}.dump", f"x{name}")
        for other in others:
            self.add_dump(1000, other)
        self.assertEqual({}, self.clean("--yes", "--dumps-older-than", "0"))
        self.assertEqual(5, len([*self.dumps.iterdir()]))

    def test_missing_folder_has_no_dumps(self) -> None:
        self.dumps.rmdir()
        self.assertEqual({}, self.clean("--yes"))

    def test_age_that_is_no_number_of_days_is_refused(self) -> None:
        for text in ("-1", "x", "1.5"):
            with self.assertRaises(SystemExit):
                self.output("clean", "--dumps-older-than", text)
