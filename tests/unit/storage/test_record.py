# SPDX-License-Identifier: Apache-2.0

import os
from pathlib import Path
from unittest import mock

import ddt
import fixtures
from oslotest import base

from stable_rescue import exception, plan
from stable_rescue.storage import files
from stable_rescue.storage.record import Record, State, Store
from tests.unit.domain import samples

PLAN = plan.RescuePlan("disk", "usb", samples.parsed("pc"), samples.parsed("q35"), ())


@ddt.ddt
class StoreTest(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.useFixture(fixtures.TempDir()).path)
        self.store = Store(str(self.folder))
        self.record = Record.of(PLAN, {"id": "i", "checksum": "c"}, was_running=True)

    def test_nothing_is_there_at_first(self) -> None:
        self.assertEqual((None, None), (self.store.load(), self.store.original()))

    def test_what_was_saved_is_loaded(self) -> None:
        self.store.save(self.record)
        self.assertEqual(self.record, self.store.load())
        self.assertEqual(State.PREPARING, self.record.state)
        self.store.save(self.record.at(State.RESCUED))
        self.assertIs(State.RESCUED, self.store.load().state)

    def test_only_the_owner_can_read(self) -> None:
        self.useFixture(fixtures.MonkeyPatch("os.umask", os.umask))
        self.addCleanup(os.umask, os.umask(0))
        self.store.save(self.record)
        self.store.save_original("<own/>")
        modes = [path.stat().st_mode & 0o777 for path in self.folder.iterdir()]
        self.assertEqual([0o600, 0o600], modes)

    def test_cleared(self) -> None:
        self.store.save(self.record)
        self.store.save_original("<own/>")
        self.store.clear()
        self.assertEqual([], list(self.folder.iterdir()))
        self.store.clear()  # twice is no error

    @ddt.data("", "{", "[]", "{}", '{"format": 2}', '{"format": 1, "x": 1}', "\x00")
    def test_a_damaged_record_is_told(self, text: str) -> None:
        (self.folder / "stable_rescue.json").write_text(text)
        told = self.assertRaises(exception.InvalidRecord, self.store.load)
        self.assertIn("stable_rescue.json", str(told))

    @ddt.data("fsync", "replace")
    def test_a_failed_write_leaves_what_was_there(self, step: str) -> None:
        self.store.save(self.record)
        owner = "os.fsync" if step == "fsync" else "pathlib.Path.replace"
        with mock.patch(owner, side_effect=OSError(28, "No space left on device")):
            self.assertRaises(OSError, self.store.save, self.record.at(State.RESCUED))
        self.assertEqual(self.record, self.store.load())
        self.assertEqual(1, len(list(self.folder.iterdir())))

    def test_a_definition_that_novas_own_rescue_has_saved_is_not_forgotten(
        self,
    ) -> None:
        self.store.save_original("<own/>")
        self.store.save(self.record)
        self.store.forget()
        self.assertEqual((None, "<own/>"), (self.store.load(), self.store.original()))

    def test_a_file_that_is_gone_is_removed(self) -> None:
        files.remove(self.folder / "gone")
        self.assertEqual([], list(self.folder.iterdir()))
