# SPDX-License-Identifier: Apache-2.0
"""What a rescue leaves in each of Nova's storage backends is removed."""

from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import ddt
import fixtures
from nova import conf as nova_conf
from nova.virt.libvirt import driver as libvirt_driver
from oslotest import base

from stable_rescue.storage import medium

CONF = nova_conf.CONF
UUID = "0f4b0a6e-5b1c-4f7c-9b7e-0d9a4e1c3a55"
OTHER = "7c1d2e3f-5b1c-4f7c-9b7e-0d9a4e1c3a55"
SERVER_FILES = ["console.log", "disk", "disk.config", "disk.eph0", "disk.info"]


@ddt.ddt
class RemoveTest(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        root = self.useFixture(fixtures.TempDir()).path
        self.set("instances_path", root)
        self.folder = Path(root, UUID)
        self.folder.mkdir()
        for name in SERVER_FILES:
            (self.folder / name).write_text("{}")
        self.instance = SimpleNamespace(uuid=UUID)
        # Without __init__: only methods that need no connection are called.
        self.driver = libvirt_driver.LibvirtDriver.__new__(libvirt_driver.LibvirtDriver)

    def set(self, name: str, value: str, group: str | None = None) -> None:
        CONF.set_override(name, value, group)
        self.addCleanup(CONF.clear_override, name, group)

    def remove(self) -> None:
        medium.remove(self.driver, self.instance)

    def assert_only_server_files(self) -> None:
        self.assertEqual(SERVER_FILES, sorted(p.name for p in self.folder.iterdir()))

    def test_no_medium_is_no_error(self) -> None:
        self.remove()
        self.assert_only_server_files()

    @ddt.data(
        "disk.rescue",
        ".disk.rescue.new",
        "disk.config.rescue",
        ".disk.config.rescue.new",
        "kernel.rescue",
        "ramdisk.rescue",
        "nvram.rescue",
        "overlay.vda.rescue",
    )
    def test_file_of_the_rescue_is_removed(self, name: str) -> None:
        (self.folder / name).write_bytes(b"left")
        self.remove()
        self.assert_only_server_files()

    def test_missing_instance_directory_is_no_error(self) -> None:
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()
        self.remove()
        self.assertFalse(self.folder.exists())

    def test_rbd_images_of_the_rescue_are_removed(self) -> None:
        """The images of the server and of other servers in the pool are kept."""
        self.set("images_type", "rbd", "libvirt")
        pool = {
            f"{uuid}_{name}"
            for uuid in (UUID, OTHER)
            for name in ("disk", "disk.config", "disk.rescue", "disk.config.rescue")
        }

        class RBDDriver:
            def cleanup_volumes(self, chosen: object) -> None:
                pool.difference_update(list(filter(chosen, pool)))

        with mock.patch("nova.storage.rbd_utils.RBDDriver", RBDDriver):
            self.remove()
        removed = {f"{UUID}_disk.rescue", f"{UUID}_disk.config.rescue"}
        self.assertEqual(6, len(pool))
        self.assertFalse(pool & removed)

    def test_lvm_volume_of_the_rescue_is_removed(self) -> None:
        self.set("images_type", "lvm", "libvirt")
        # Nova looks below /dev; an absolute path replaces that.
        group_path = self.useFixture(fixtures.TempDir()).path
        self.set("images_volume_group", group_path, "libvirt")
        group = [f"{u}_{n}" for u in (UUID, OTHER) for n in ("disk", "disk.rescue")]
        removed = []

        with (
            mock.patch("nova.virt.libvirt.storage.lvm.list_volumes", lambda _vg: group),
            mock.patch("nova.virt.libvirt.storage.lvm.remove_volumes", removed.extend),
        ):
            self.remove()
        self.assertEqual([f"{group_path}/{UUID}_disk.rescue"], removed)
