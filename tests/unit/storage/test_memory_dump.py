# SPDX-License-Identifier: Apache-2.0
"""The files of memory dumps."""

from pathlib import Path

import fixtures
from nova import conf as nova_conf
from oslo_config import fixture as config_fixture
from oslo_utils import units
from oslo_utils.fixture import uuidsentinel as uuids
from oslotest import base

from stable_rescue import conf, exception
from stable_rescue.storage import memory_dump

CONF = nova_conf.CONF


class MemoryDumpTest(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        conf.register_opts(CONF)
        self.options = self.useFixture(config_fixture.Config(CONF))
        self.folder = Path(self.useFixture(fixtures.TempDir()).path)
        self.set(memory_dump_path=str(self.folder))

    def set(self, **values: object) -> None:
        self.options.config(group="stable_rescue", **values)

    def assert_refused(self, size: int, *parts: str) -> None:
        error = self.assertRaises(exception.Refused, memory_dump.check, size)
        for part in parts:
            self.assertIn(part, str(error))
        self.assertNotIn(str(self.folder), str(error))

    def test_folder_allows_dumps(self) -> None:
        self.assertEqual(["none", "dump"], memory_dump.allowed())
        self.set(memory_dump_path=None)
        self.assertEqual(["none"], memory_dump.allowed())

    def test_limit_is_in_gibibytes_and_zero_is_none(self) -> None:
        self.set(memory_dump_max_size=2)
        self.useFixture(
            fixtures.MonkeyPatch(
                "stable_rescue.storage.memory_dump._problem", lambda *_: None
            )
        )
        memory_dump.check(2 * units.Gi)
        self.assert_refused(2 * units.Gi + 1, "allows dumps of up to 2 GiB")
        self.set(memory_dump_max_size=0)
        memory_dump.check(2**50)

    def test_folder_that_cannot_be_used_is_refused(self) -> None:
        self.set(memory_dump_max_size=0)
        memory_dump.check(units.Mi)
        self.assert_refused(2**60, "cannot store a dump")
        for mode in (0o770, 0o707):
            self.folder.chmod(mode)
            self.assert_refused(units.Mi, "cannot store a dump")
        self.folder.chmod(0o700)
        for name in ("none", "file"):
            (self.folder / "file").touch()
            self.set(memory_dump_path=str(self.folder / name))
            error = self.assertRaises(exception.Refused, memory_dump.check, units.Mi)
            self.assertIn("cannot store a dump", str(error))

    def test_file_is_private_and_never_an_earlier_one(self) -> None:
        path = memory_dump.new_path(uuids.server)
        memory_dump.make(path)
        temporary = memory_dump.temporary_path(path)
        self.assertEqual(0o600, temporary.stat().st_mode & 0o777)
        self.assertRaises(FileExistsError, memory_dump.make, path)

    def test_path_of_a_new_dump_is_not_in_use(self) -> None:
        paths = set()
        for _ in range(3):
            path = memory_dump.new_path(uuids.server)
            memory_dump.make(path)
            paths.add(path)
        self.assertEqual(3, len(paths))
        kept = min(paths)
        memory_dump.temporary_path(kept).write_bytes(b"memory")
        self.assertEqual(6, memory_dump.keep(kept))
        self.assertNotIn(memory_dump.new_path(uuids.server), paths)

    def test_removal_spares_a_complete_dump(self) -> None:
        path = memory_dump.new_path(uuids.server)
        memory_dump.make(path)
        memory_dump.remove_incomplete(path)
        memory_dump.remove_incomplete(path)
        self.assertEqual([], [*self.folder.iterdir()])
        memory_dump.make(path)
        memory_dump.keep(path)
        memory_dump.remove_incomplete(path)
        self.assertEqual([path], [*self.folder.iterdir()])

    def test_missing_folder_has_nothing_to_remove(self) -> None:
        memory_dump.remove_incomplete(self.folder / "none" / "x.dump")
