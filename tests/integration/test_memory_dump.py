# SPDX-License-Identifier: Apache-2.0
"""A rescue with hw_rescue_memory=dump keeps the memory of the server (F38)."""

import contextlib
import mmap
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path
from unittest import mock

import libvirt

from stable_rescue.storage import memory_dump
from tests.integration import base, kdump, unprivileged
from tests.integration.faults.server import FaultTestBase
from tests.integration.scene import Scene, overlay

_MEMORY = 256 * 1024**2
_SECONDS = 300.0


class DumpTestBase(FaultTestBase):
    """A server, a nova-compute, and an image whose rescue dumps the memory."""

    def setUp(self) -> None:
        super().setUp()
        self.compute.properties["hw_rescue_memory"] = "dump"

    def is_paused(self) -> bool:
        return bool(self.server.domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED)


class LinuxTest(DumpTestBase):
    """The guest runs Linux, whose command line is in its memory."""

    boots = True

    def _new_scene(self, image: Path) -> Scene:
        scene = super()._new_scene(image)
        disk = scene.folder / "disk"
        disk.unlink()
        overlay(base.images().original_qcow2, disk, "1G")
        return scene

    def dump(self, dump_format: str) -> Path:
        """Rescue the server when it has booted, and return the dump."""
        self.compute.options["memory_dump_format"] = dump_format
        self.server.wait_for_inventory()
        code, output = self.compute.act("rescue")
        self.assertEqual(0, code, output[-3000:])
        (path,) = self.compute.dumps.iterdir()
        status = path.stat()
        self.assertEqual((0o600, os.getuid()), (status.st_mode & 0o777, status.st_uid))
        code, output = self.compute.act("unrescue")
        self.assertEqual(0, code, output[-3000:])
        self.assertTrue(path.exists())
        return path

    def known_text(self) -> bytes:
        return f"lab.build={base.images().build}".encode()

    def test_elf_file_has_the_memory_of_the_guest(self) -> None:
        path = self.dump("elf")
        header = self._readelf("-h", path)
        self.assertRegex(header, r"Type: +CORE")
        segments = re.findall(
            r"(?m)^ +LOAD( +0x[0-9a-f]+){5}", self._readelf("-lW", path)
        )
        self.assertNotEqual([], segments)
        self.assertGreaterEqual(path.stat().st_size, _MEMORY * 0.99)
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            self.assertNotEqual(-1, content.find(self.known_text()))

    def test_compressed_file_has_the_memory_of_the_guest(self) -> None:
        path = self.dump("kdump")
        self.assertLess(path.stat().st_size, _MEMORY / 2)
        found = [page for page in kdump.pages(path) if self.known_text() in page]
        self.assertNotEqual([], found)

    def _readelf(self, option: str, path: Path) -> str:
        command = ["readelf", option, str(path)]
        return subprocess.run(
            command, check=True, capture_output=True, text=True
        ).stdout


class OwnerTest(DumpTestBase):
    def test_dump_belongs_to_the_user_of_nova_compute(self) -> None:
        """libvirtd, which is root, leaves the owner and the mode (F38)."""
        # Other users may not be able to enter the folder for the other files.
        dumps = base.new_folder(self.addCleanup)
        os.chown(dumps, unprivileged.NOBODY, unprivileged.NOBODY)
        path = dumps / "x.dump"
        unprivileged.result_of(lambda: memory_dump.make(path))
        self.server.domain.suspend()
        self.server.domain.coreDumpWithFormat(
            str(memory_dump.temporary_path(path)),
            libvirt.VIR_DOMAIN_CORE_DUMP_FORMAT_RAW,
            libvirt.VIR_DUMP_MEMORY_ONLY,
        )
        size = unprivileged.result_of(lambda: memory_dump.keep(path))
        self.assertGreaterEqual(size, _MEMORY * 0.99)
        status = path.stat()
        self.assertEqual(
            (unprivileged.NOBODY, 0o600), (status.st_uid, status.st_mode & 0o777)
        )
        seen = unprivileged.result_of(lambda: path.read_bytes()[:4].decode("latin1"))
        self.assertEqual("\x7fELF", seen)


class FailedTest(DumpTestBase):
    def test_guest_runs_on_if_the_disk_is_full(self) -> None:
        folder = self.instances / "dumps"
        folder.mkdir(mode=0o700)
        options = {"memory_dump_path": str(folder), "memory_dump_format": "elf"}
        self.compute.options.update(options)
        self.before = self.observed()
        # There was room when the rescue was prepared.
        has_room = mock.patch(
            "stable_rescue.storage.memory_dump._problem", return_value=None
        )
        code, output = self.compute.act("rescue", patch=has_room)
        self.assertEqual(1, code)
        self.assertIn("No space left on device", output)
        self.assertIn("the server's memory could not be dumped", output)
        self.assertEqual([], [*folder.iterdir()])
        self.assertFalse(self.is_paused())
        self.assert_restored()

    def test_recovery_waits_for_a_dump_that_libvirt_still_writes(self) -> None:
        path = self.compute.dumps / "x.dump"
        pipe = path.with_name(".x.dump.new")
        os.mkfifo(pipe, 0o600)
        # As long as nobody reads, the dump does not end.
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        to_pipe = mock.patch.multiple(
            "stable_rescue.storage.memory_dump",
            make=lambda _path: None,
            new_path=lambda _uuid: path,
        )
        code, output = self.compute.act("rescue", self._kill_in_dump, to_pipe)
        self.assertEqual(-signal.SIGKILL, code, output[-3000:])
        self.assertTrue(self.is_paused())
        self.assertNotEqual(0, self.server.domain.jobInfo()[0])
        os.set_blocking(reader, True)
        thread = threading.Thread(target=_read_all, args=(reader,))
        thread.start()
        self.addCleanup(thread.join)
        code, output = self.compute.act("restart")
        self.assertEqual(0, code, output[-3000:])
        self.assertFalse(self.is_paused())
        self.assertEqual([], [*self.compute.dumps.iterdir()])
        self.assert_restored()

    def _kill_in_dump(self, point: str) -> None:
        """Kill this nova-compute when libvirt has begun to dump the memory."""
        if point == "before dump the memory":
            threading.Thread(target=self._kill_when_dumping, daemon=True).start()

    def _kill_when_dumping(self) -> None:
        connection = libvirt.open(base.URI)
        domain = connection.lookupByUUIDString(self.scene.uuid)
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            # libvirt has no answer until QEMU has begun (F38).
            with contextlib.suppress(libvirt.libvirtError):
                if domain.jobInfo()[0]:
                    break
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGKILL)


def _read_all(pipe: int) -> None:
    while os.read(pipe, 1024**2):
        pass
