# SPDX-License-Identifier: Apache-2.0
"""The files that stable rescue keeps in an instance's directory."""

import os
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import ddt
import fixtures
from oslotest import base

from stable_rescue.domain.document import Domain
from stable_rescue.plan import RescuePlan
from stable_rescue.storage import files
from stable_rescue.storage.record import Record, State
from stable_rescue.storage.store import Store
from tests.unit.domain import samples

ORIGINAL = samples.read("pc")
PLAN = RescuePlan(
    "disk", "usb", Domain.parse(ORIGINAL), Domain.parse(samples.read("q35")), ()
)


@ddt.ddt
class StoreTest(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.useFixture(fixtures.TempDir()).path)
        self.store = Store(str(self.folder))
        self.record = Record.of(PLAN, {"id": "i", "checksum": "c"}, was_running=True)

    def test_empty_directory_has_nothing(self) -> None:
        self.assertEqual((None, None), (self.store.load(), self.store.load_original()))
        self.assertFalse(self.store.has_record())
        self.assertFalse(self.store.has_original())

    def test_saved_record_is_loaded(self) -> None:
        self.store.save(self.record)
        self.assertEqual(self.record, self.store.load())
        self.assertEqual(State.PREPARING, self.record.state)
        self.store.save(self.record.at(State.RESCUED))
        self.assertIs(State.RESCUED, self.store.load().state)

    def test_saved_original_is_loaded_to_the_letter(self) -> None:
        self.store.save_original(ORIGINAL)
        self.assertEqual(ORIGINAL, self.store.load_original().to_xml())
        self.assertTrue(self.store.has_original())

    def test_files_are_readable_by_owner_only(self) -> None:
        self.useFixture(fixtures.MonkeyPatch("os.umask", os.umask))
        self.addCleanup(os.umask, os.umask(0))
        self.store.save(self.record)
        self.store.save_original(ORIGINAL)
        modes = [path.stat().st_mode & 0o777 for path in self.folder.iterdir()]
        self.assertEqual([0o600, 0o600], modes)

    def test_remove_all_removes_both_files(self) -> None:
        self.store.save(self.record)
        self.store.save_original(ORIGINAL)
        self.store.remove_all()
        self.assertEqual([], list(self.folder.iterdir()))
        self.store.remove_all()  # Nothing to remove is no error.

    @ddt.data("", "{", "[]", "{}", '{"format": 4}', '{"format": 1, "x": 1}', "\x00")
    def test_damaged_record_is_logged_and_not_loaded(self, text: str) -> None:
        (self.folder / "stable_rescue.json").write_text(text)
        with self.assertLogs("stable_rescue.storage.store", "WARNING") as logged:
            self.assertIsNone(self.store.load())
        self.assertIn("stable_rescue.json", logged.output[0])
        self.assertTrue(self.store.has_record())

    @ddt.data("no XML", "<domain/>")
    def test_damaged_original_is_logged_and_not_loaded(self, text: str) -> None:
        (self.folder / "unrescue.xml").write_text(text)
        with self.assertLogs("stable_rescue.storage.store", "WARNING") as logged:
            self.assertIsNone(self.store.load_original())
        self.assertIn("unrescue.xml", logged.output[0])
        self.assertTrue(self.store.has_original())

    def test_files_that_are_not_utf_8_are_not_loaded(self) -> None:
        for name in ("stable_rescue.json", "unrescue.xml"):
            (self.folder / name).write_bytes(b"\xff")
        self.assertEqual((None, None), (self.store.load(), self.store.load_original()))
        self.assertTrue(self.store.has_record())
        self.assertTrue(self.store.has_original())

    @ddt.data("fsync", "replace")
    def test_failed_write_keeps_the_older_record(self, step: str) -> None:
        self.store.save(self.record)
        owner = "os.fsync" if step == "fsync" else "pathlib.Path.replace"
        with mock.patch(owner, side_effect=OSError(28, "No space left on device")):
            self.assertRaises(OSError, self.store.save, self.record.at(State.RESCUED))
        self.assertEqual(self.record, self.store.load())
        self.assertEqual(1, len(list(self.folder.iterdir())))

    def flushed(self, change: Callable[[], None]) -> list[tuple[str, list[str]]]:
        """Return what a change flushes to the disk, with the folder at that moment."""
        events = []
        fsync = os.fsync

        def note(descriptor: int) -> None:
            flushed = Path(f"/proc/self/fd/{descriptor}").readlink()
            names = sorted(path.name for path in self.folder.iterdir())
            events.append((flushed.name, names))
            fsync(descriptor)

        with mock.patch("os.fsync", note):
            change()
        return events

    def test_file_is_flushed_before_and_folder_after_the_rename(self) -> None:
        record, temporary = "stable_rescue.json", ".stable_rescue.json.new"
        self.assertEqual(
            [(temporary, [temporary]), (self.folder.name, [record])],
            self.flushed(lambda: self.store.save(self.record)),
        )

    def test_folder_is_flushed_after_a_removal(self) -> None:
        self.store.save(self.record)
        self.assertEqual(
            [(self.folder.name, [])], self.flushed(self.store.remove_record)
        )

    def test_remove_record_keeps_unrescue_xml_of_a_stock_rescue(self) -> None:
        self.store.save_original(ORIGINAL)
        self.store.save(self.record)
        self.store.remove_record()
        self.assertIsNone(self.store.load())
        self.assertEqual(ORIGINAL, self.store.load_original().to_xml())

    def test_missing_file_is_removed_without_error(self) -> None:
        files.remove(self.folder / "missing")
        self.assertEqual([], list(self.folder.iterdir()))
