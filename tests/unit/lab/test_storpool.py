# SPDX-License-Identifier: Apache-2.0
"""The StorPool stand-in, used through os-brick's API client and connector."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import unittest
from pathlib import Path
from unittest import mock

from os_brick.initiator import storpool_utils
from os_brick.initiator.connectors import storpool as connector

from lab.storpool.api import Server
from lab.storpool.array import CONNECT_DELAY, Array
from lab.storpool.client import Client
from lab.storpool.loop import LoopDevice

MIB = 1024**2
TOKEN = "a token"


class FakeDevice:
    """A loop device that is only its backing file."""

    #: The devices that exist, by backing file.
    existing: dict[Path, FakeDevice] = {}
    #: The pids that have every device open.
    busy: list[int] = []

    def __init__(self, backing: Path) -> None:
        self.path = backing
        self.resized = False

    @classmethod
    def attach(cls, backing: Path, *, read_only: bool = False) -> FakeDevice:
        cls.existing[backing] = cls(backing)
        return cls.existing[backing]

    @classmethod
    def find(cls, backing: Path) -> FakeDevice | None:
        return cls.existing.get(backing)

    def users(self) -> list[int]:
        return self.busy

    def flush(self) -> None:
        pass

    def resize(self) -> None:
        self.resized = True

    def close(self) -> None:
        del self.existing[self.path]


class ArrayTestCase(unittest.TestCase):
    """An array in a temporary folder that is served over HTTP."""

    device: type = FakeDevice

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name).resolve()
        self.dev = self.root / "dev"
        self.dev.mkdir()
        FakeDevice.existing = {}
        FakeDevice.busy = []
        self._patch("lab.storpool.client.LoopDevice", self.device)
        self.serve()

    def _patch(self, target: str, value: object) -> None:
        patcher = mock.patch(target, value)
        patcher.start()
        self.addCleanup(patcher.stop)

    def serve(self) -> None:
        """Serve a new Array of the same folder, as a restarted daemon does."""
        self.client = Client(self.dev)
        array = Array(self.root / "volumes", self.client)
        self.server = Server(0, array, TOKEN)
        thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.api = storpool_utils.StorPoolAPI(
            "127.0.0.1", self.server.server_port, TOKEN
        )

    def create(self, name: str, **request: object) -> Path:
        """Create a volume and return its file."""
        self.api.volume_create({"name": name, "size": MIB, **request})
        return self.file(name)

    def file(self, name: str) -> Path:
        identity = self.api.volume_get_info(name)["globalId"]
        return self.root / "volumes" / f"{identity}.raw"

    def links(self, folder: str) -> list[str]:
        return [link.name for link in (self.dev / folder).iterdir()]

    def attach(self, name: str, mode: str = "rw") -> None:
        self.api.volumes_reassign_wait({"reassign": [{"volume": name, mode: [1]}]})

    def detach(self, name: str, **more: object) -> None:
        self.api.volumes_reassign_wait(
            {"reassign": [{"volume": name, "detach": [1], **more}]}
        )

    def assertRefused(self, name: str, call: object, *arguments: object) -> str:
        """Check that the API refuses a call with this error; return its text."""
        with self.assertRaises(storpool_utils.StorPoolAPIError) as caught:
            call(*arguments)
        self.assertEqual(name, caught.exception.name)
        return caught.exception.desc


class VolumesTest(ArrayTestCase):
    def test_create_makes_a_sparse_file(self) -> None:
        file = self.create("v", size=1024 * MIB)
        self.assertEqual(1024 * MIB, file.stat().st_size)
        self.assertEqual(0, file.stat().st_blocks)
        self.assertEqual(1024 * MIB, self.api.volume("v")[0]["size"])

    def test_create_refuses_an_existing_name_and_odd_sizes(self) -> None:
        self.create("v")
        request = {"name": "v", "size": MIB}
        self.assertRefused("objectExists", self.api.volume_create, request)
        for size in (0, -512, 1000, "1", None):
            with self.subTest(size=size):
                request = {"name": "w", "size": size}
                self.assertRefused("invalidParam", self.api.volume_create, request)

    def test_attachments_list_attached_volumes_with_rights(self) -> None:
        array = self.server.array
        for name, mode in (("v", "rw"), ("w", "ro"), ("x", None)):
            self.create(name)
            if mode:
                self.attach(name, mode)
        listed = {(one["volume"], one["rights"]) for one in array.attachments()}
        self.assertEqual({("v", "rw"), ("w", "ro")}, listed)
        self.detach("v")
        self.assertEqual(["w"], [one["volume"] for one in array.attachments()])

    def test_snapshot_keeps_the_content_after_later_writes(self) -> None:
        self.create("v").write_bytes(b"before".ljust(MIB))
        self.api.snapshot_create("v", {"name": "s"})
        self.file("v").write_bytes(b"after".ljust(MIB))
        copy = self.create("w", parent="s", size=2 * MIB)
        self.assertEqual(2 * MIB, copy.stat().st_size)
        self.assertEqual(b"before", copy.read_bytes()[:6])
        self.api.volume_revert("v", {"toSnapshot": "s"})
        self.assertEqual(b"before", self.file("v").read_bytes()[:6])
        self.api.snapshot_delete("s")
        self.assertRefused("objectDoesNotExist", self.api.snapshot_delete, "s")
        self.assertEqual(b"before", copy.read_bytes()[:6])

    def test_clone_has_the_content_and_is_not_smaller(self) -> None:
        self.create("v", size=2 * MIB).write_bytes(b"x" * 2 * MIB)
        copy = self.create("w", baseOn="v", size=2 * MIB)
        self.assertEqual(b"x" * 2 * MIB, copy.read_bytes())
        request = {"name": "u", "baseOn": "v", "size": MIB}
        self.assertRefused("invalidParam", self.api.volume_create, request)

    def test_update_grows_and_renames_and_refuses_to_shrink(self) -> None:
        file = self.create("v")
        self.attach("v")
        self.api.volume_update("v", {"size": 2 * MIB, "rename": "w"})
        self.assertEqual(2 * MIB, file.stat().st_size)
        self.assertTrue(FakeDevice.existing[file].resized)
        self.assertEqual(["w"], self.links("storpool"))
        self.assertRefused("invalidParam", self.api.volume_update, "w", {"size": MIB})
        self.assertRefused("objectDoesNotExist", self.api.volume, "v")

    def test_delete_of_an_attached_volume_needs_detach_first(self) -> None:
        file = self.create("v")
        self.attach("v")
        self.assertRefused("busy", self.api.volume_delete, "v")
        self.api.volumes_reassign([{"volume": "v", "detach": "all"}])
        self.api.volume_delete("v")
        self.assertFalse(file.exists())
        self.assertEqual([], self.api.volumes_list())
        self.assertRefused("objectDoesNotExist", self.api.volume_delete, "v")

    def test_snapshot_update_changes_template_and_tags(self) -> None:
        self.create("v")
        self.api.snapshot_create("v", {"name": "s"})
        self.api.snapshot_update("s", {"template": "t", "tags": {"transient": "1"}})
        self.assertEqual("t", self.server.array._snapshots["s"].template)
        self.assertRefused(
            "objectDoesNotExist", self.api.snapshot_update, "no", {"tags": {}}
        )

    def test_disks_list_the_capacity_of_the_file_system(self) -> None:
        disk = self.api.disks_list()["1"]
        self.assertEqual(disk["agCount"], disk["agFree"] + disk["agAllocated"])
        self.assertEqual(-1, disk["generationLeft"])
        self.assertEqual([], self.api.volume_templates_list())


class AttachmentTest(ArrayTestCase):
    def test_attach_makes_links_and_detach_removes_them(self) -> None:
        file = self.create("v")
        self.attach("v")
        identity = self.api.volume_get_info("v")["globalId"]
        for link in (self.dev / "storpool/v", self.dev / "storpool-byid" / identity):
            self.assertEqual(file, link.readlink())
        self.detach(f"~{identity}")
        self.assertEqual([], self.links("storpool"))
        self.assertEqual([], self.links("storpool-byid"))
        self.assertEqual({}, FakeDevice.existing)

    def test_connect_delay_lengthens_each_attachment(self) -> None:
        clock = mock.Mock()
        self._patch("lab.storpool.array.time", clock)
        self.create("v")
        self.attach("v")
        (self.root / "volumes" / CONNECT_DELAY).write_text("0.5")
        self.attach("v")
        self.detach("v")
        self.assertEqual([mock.call(0.0), mock.call(0.5)], clock.sleep.mock_calls)

    def test_detach_of_an_open_device_is_refused_unless_forced(self) -> None:
        self.create("v")
        self.attach("v")
        FakeDevice.busy = [4711]
        self.assertIn("is open at", self.assertRefused("busy", self.detach, "v"))
        self.detach("v", force=True)
        self.assertEqual({}, FakeDevice.existing)

    def test_attach_and_detach_are_idempotent(self) -> None:
        self.create("v")
        self.attach("v")
        self.attach("v")
        self.assertRefused("invalidParam", self.attach, "v", "ro")
        self.detach("v")
        self.detach("v")
        self.attach("v", "ro")
        self.assertEqual(1, len(FakeDevice.existing))

    def test_restart_keeps_volumes_and_attachments(self) -> None:
        self.create("v")
        self.create("w")
        self.attach("v")
        device = FakeDevice.existing[self.file("v")]
        (self.dev / "storpool" / "stale").symlink_to("/nowhere")
        self.serve()
        self.assertEqual(["v"], self.links("storpool"))
        self.assertIs(device, FakeDevice.existing[self.file("v")])
        names = [volume["name"] for volume in self.api.volumes_list()]
        self.assertEqual(["v", "w"], names)
        self.assertNotEqual(self.create("x"), self.file("w"))


class RequestsTest(ArrayTestCase):
    def test_request_with_a_wrong_token_is_refused(self) -> None:
        other = storpool_utils.StorPoolAPI("127.0.0.1", self.server.server_port, "no")
        self.assertRefused("authenticationFailed", other.volumes_list)

    def test_request_that_is_malformed_is_refused(self) -> None:
        self.create("v")
        for method, path, body in (
            ("GET", "/ctrl/1.0/NoSuchCall", None),
            ("GET", "/elsewhere", None),
            ("POST", "/ctrl/1.0/VolumeCreate", {"size": MIB}),
            ("POST", "/ctrl/1.0/VolumesReassign", [{"detach": "all"}]),
            ("POST", "/ctrl/1.0/VolumeRevert/v", {}),
        ):
            with self.subTest(path=path), self.assertLogs("lab.storpool.api"):
                self.assertRefused(
                    "invalidParam", self.api._api_call, method, path, body
                )

    def test_request_works_with_and_without_multi_cluster(self) -> None:
        self.create("v")
        for prefix in ("", "MultiCluster/"):
            volumes = self.api._api_call("GET", f"/ctrl/1.0/{prefix}VolumesList")
            self.assertEqual(["v"], [volume["name"] for volume in volumes])


@unittest.skipUnless(
    os.geteuid() == 0 and os.access("/dev/loop-control", os.W_OK),
    "loop devices need root",
)
class BlockDevicesTest(ArrayTestCase):
    """The kernel's loop devices and os-brick's connector are used."""

    device = LoopDevice

    def setUp(self) -> None:
        super().setUp()
        config = {
            "SP_API_HTTP_HOST": "127.0.0.1",
            "SP_API_HTTP_PORT": self.server.server_port,
            "SP_AUTH_TOKEN": TOKEN,
            "SP_OURID": "1",
        }
        self._patch("os_brick.initiator.storpool_utils.get_conf", lambda: config)
        self._patch(f"{connector.__name__}.DEV_STORPOOL", self.dev / "storpool")
        self._patch(
            f"{connector.__name__}.DEV_STORPOOL_BYID", self.dev / "storpool-byid"
        )
        self.connector = connector.StorPoolConnector(None)
        self.properties = {"client_id": 1, "volume": "v", "access_mode": "rw"}
        self.create("os--volume-v")
        self.info = self.connector.connect_volume(self.properties)
        self.path = Path(self.info["path"])
        self.addCleanup(self.detach, "os--volume-v", force=True)

    def backing(self) -> str:
        device = self.path.resolve().name
        return Path(f"/sys/block/{device}/loop/backing_file").read_text().strip()

    def test_device_writes_are_in_the_file_and_in_snapshots(self) -> None:
        self.assertTrue(self.path.is_block_device())
        self.assertEqual(str(self.file("os--volume-v")), self.backing())
        with self.path.open("r+b") as device:
            device.write(b"written")
        self.api.snapshot_create("os--volume-v", {"name": "s"})
        copy = self.create("w", parent="s")
        self.assertEqual(b"written", copy.read_bytes()[:7])

    def test_device_is_removed_on_disconnect(self) -> None:
        device = self.path.resolve().name
        self.connector.disconnect_volume(self.properties, self.info)
        self.assertFalse(self.path.is_symlink())
        self.assertFalse(Path(f"/sys/block/{device}/loop").exists())

    def test_device_grows_while_attached(self) -> None:
        self.api.volume_update("os--volume-v", {"size": 4 * MIB})
        with self.path.open("rb") as device:
            self.assertEqual(4 * MIB, device.seek(0, os.SEEK_END))

    def test_device_opened_by_another_process_is_busy(self) -> None:
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        self.addCleanup(os.close, writing)
        child = os.fork()
        if child == 0:
            os.open(self.path, os.O_RDONLY)
            os.write(writing, b"open")
            signal.pause()
            os._exit(0)
        try:
            self.assertEqual(b"open", os.read(reading, 4))
            description = self.assertRefused("busy", self.detach, "os--volume-v")
            self.assertIn(str(child), description)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        self.connector.disconnect_volume(self.properties, self.info)
