# SPDX-License-Identifier: Apache-2.0
"""stable-rescue report: what a rescue has done."""

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any
from unittest import mock

from stable_rescue.cmd import hashing, opened, report
from stable_rescue.cmd.exits import NOT_FOUND, UNAVAILABLE, CommandError
from stable_rescue.domain.document import Domain
from stable_rescue.storage import reports
from stable_rescue.storage.record import Record, State
from stable_rescue.virt import evidence
from tests.unit.cmd.host import HostTestCase

HOST = "compute1"
#: The rescue definition of a test has the path of its folder.
RESCUE_SHA256 = "acc0653b96e74c1b6eafe63211a81380144287a4db19048344c444aa526c96be"
REQUEST = "req-5f0d6b5e-7f37-4a5c-9d0f-0a8d5d6c9b11"
PROJECT = "0d1e5b7c9a3f4e2d8c6b1a0f9e8d7c6b"


def write_report(
    folder: Path, record: Record, log: list[dict[str, Any]], dump: str | None = None
) -> str:
    """Write the report of a record's rescue into a state_path; return the UUID."""
    original = Domain.parse(record.original_xml)
    reports_folder = folder / f"stable-rescue-reports-{HOST}"
    reports_folder.mkdir(exist_ok=True)
    content = {
        "format": reports.FORMAT,
        "server": original.uuid,
        "host": HOST,
        "project_id": PROJECT,
        "request_id": REQUEST,
        "prepared_at": "2026-01-15T22:41:05Z",
        "image": {"id": record.image_id, "checksum": record.image_checksum},
        "kind": record.kind,
        "memory_dump": dump,
        "original_sha256": evidence.digest_of(original),
        "rescue_sha256": RESCUE_SHA256,
        "disks": evidence.disks_of(original, Domain.parse(record.rescue_xml)),
        "log": log,
    }
    path = reports_folder / f"{original.uuid}-20260115T224105.000000Z.json"
    path.write_text(json.dumps(content))
    return original.uuid


class ReportTest(HostTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.options += [f"state_path = {self.folder}", f"host = {HOST}"]
        self.record = self.add_server()
        self.log = [
            {"time": "2026-01-15T22:41:07Z", "what": "started"},
            {
                "time": "2026-01-15T23:00:00Z",
                "what": "ending",
                "writes_to_originals": {"vda": 0},
            },
        ]

    def report(self, *words: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(
            self.output("report", "-f", "json", *words, self.uuid)
        )
        return content

    @property
    def uuid(self) -> str:
        return Domain.parse(self.record.original_xml).uuid

    def test_report_is_printed_for_people_and_programs(self) -> None:
        write_report(self.folder, self.record, self.log)
        text = self.output("report", self.uuid)
        for part in (
            REQUEST,
            PROJECT,
            "writes to originals {'vda': 0}",
            *report.LIMITS,
        ):
            self.assertIn(part, text)
        content = self.report()
        self.assertEqual(REQUEST, content["request_id"])
        self.assertEqual(self.log, content["log"])
        self.assertEqual(0, content["earlier_reports"])
        self.assertIn("request_id", self.output("report", "-f", "yaml", self.uuid))

    def test_writes_of_an_ended_rescue_are_those_at_its_end(self) -> None:
        write_report(self.folder, self.record, self.log)
        writes = {disk["target"]: disk["writes"] for disk in self.report()["disks"]}
        self.assertEqual(0, writes["vda"])
        self.assertEqual({None}, {writes[t] for t in writes if t != "vda"})

    def test_deleted_server_has_its_report(self) -> None:
        write_report(self.folder, self.record, self.log)
        self.domains.clear()
        self.assertEqual(self.uuid, self.report()["server"])

    def test_server_without_a_report_is_not_found(self) -> None:
        self.assert_fails(
            NOT_FOUND, "no report of a rescue", words=("report", self.uuid)
        )

    def test_damaged_report_is_named(self) -> None:
        write_report(self.folder, self.record, self.log)
        (path,) = self.folder.glob("stable-rescue-reports-*/*.json")
        for text in ("{", '{"format": 1}'):
            path.write_text(text)
            self.assert_fails(UNAVAILABLE, path.name, words=("report", self.uuid))

    def test_digests_are_of_disks_that_nobody_writes(self) -> None:
        dump = self.folder / "x.dump"
        dump.write_bytes(b"\x7fELF memory")
        write_report(self.folder, self.record, self.log, str(dump))
        with mock.patch.object(hashing.Hasher, "digest_of", lambda *_: "d"):
            # libvirt's test driver runs the guest, which has no overlay.
            running = self.report("--hash")
            self.domains.clear()
            ended = self.report("--hash")
        self.assertEqual({None}, {disk["sha256"] for disk in running["disks"]})
        self.assertEqual({"d"}, {disk["sha256"] for disk in ended["disks"]})
        self.assertEqual(
            {"path": str(dump), "size_bytes": 11, "format": "elf", "sha256": "d"},
            ended["memory_dump"],
        )
        self.assertIsNone(self.report()["disks"][0]["sha256"])

    def test_missing_dump_has_no_size(self) -> None:
        write_report(self.folder, self.record, self.log, "/nonexistent/x.dump")
        dump = self.report("--hash")["memory_dump"]
        self.assertEqual((None, None), (dump["size_bytes"], dump["sha256"]))

    def test_nothing_is_hashed_while_the_rescue_changes(self) -> None:
        write_report(self.folder, self.record, self.log)
        self.domains.clear()
        self.save(self.record.at(State.ENDING))
        self.assert_fails(
            UNAVAILABLE, "is changing; try again", words=("report", "--hash", self.uuid)
        )


class HasherTest(HostTestCase):
    def test_digest_is_that_of_the_file(self) -> None:
        path = self.folder / "disk"
        path.write_bytes(os.urandom(5 * 1024**2))
        expected = hashlib.sha256(path.read_bytes()).hexdigest()
        hasher = hashing.Hasher(lambda: None)
        self.assertEqual(expected, hasher.digest_of(str(path), "vda"))
        for missing in (None, str(self.folder / "disconnected")):
            self.assertIsNone(hasher.digest_of(missing, "vdb"))

    def test_check_ends_the_work(self) -> None:
        def check() -> None:
            raise CommandError(UNAVAILABLE, "x")

        path = self.folder / "disk"
        path.touch()
        self.assertRaises(
            CommandError, hashing.Hasher(check).digest_of, str(path), "vda"
        )


class OpenedTest(HostTestCase):
    def open_files(self) -> opened.OpenFiles:
        """Return the files of this process, as if it were a QEMU."""
        with mock.patch.object(opened, "_pid_of", return_value=os.getpid()):
            return opened.OpenFiles("instance-1")

    def test_kernel_says_how_files_are_opened(self) -> None:
        read, written = self.folder / "read", self.folder / "written"
        closed = self.folder / "closed"
        for path in (read, written, closed):
            path.touch()
        with read.open("rb"), written.open("rb"), written.open("ab"):
            files = self.open_files()
        self.assertEqual(opened.READ_ONLY, files.mode(str(read)))
        self.assertEqual(opened.READ_WRITE, files.mode(str(written)))
        for path in (closed, self.folder / "missing"):
            self.assertIsNone(files.mode(str(path)))
        self.assertIsNone(files.mode(None))

    def test_file_is_known_by_another_path(self) -> None:
        """The QEMU of a container, or of a mount namespace, has other paths."""
        path, other = self.folder / "disk", self.folder / "other"
        path.touch()
        other.hardlink_to(path)
        with other.open("rb"):
            files = self.open_files()
        self.assertEqual(opened.READ_ONLY, files.mode(str(path)))

    def test_nodes_of_one_block_device_are_the_same(self) -> None:
        def node(inode: int, minor: int) -> os.stat_result:
            fields = dict.fromkeys(range(10), 0) | {0: stat.S_IFBLK, 1: inode}
            return os.stat_result(
                fields.values(), {"st_rdev": os.makedev(252, minor), "st_dev": inode}
            )

        one = opened.identity_of(node(1, 16))
        self.assertEqual(one, opened.identity_of(node(2, 16)))
        self.assertNotEqual(one, opened.identity_of(node(1, 17)))

    def test_guest_that_is_off_has_nothing_open(self) -> None:
        path = self.folder / "disk"
        with path.open("wb"):
            self.assertIsNone(opened.OpenFiles("instance-off").mode(str(path)))
