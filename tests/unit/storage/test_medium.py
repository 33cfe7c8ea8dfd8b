# SPDX-License-Identifier: Apache-2.0
"""What is left of a medium, in each of Nova's storages: found and removed."""

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
OWN_FILES = ["console.log", "disk", "disk.config", "disk.eph0", "disk.info"]


@ddt.ddt
class LeftOverTest(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        root = self.useFixture(fixtures.TempDir()).path
        self.set("instances_path", root)
        self.folder = Path(root, UUID)
        self.folder.mkdir()
        for name in OWN_FILES:
            (self.folder / name).write_text("{}")
        self.instance = SimpleNamespace(uuid=UUID)
        # No other part of it is asked.
        self.driver = libvirt_driver.LibvirtDriver.__new__(libvirt_driver.LibvirtDriver)

    def set(self, name: str, value: str, group: str | None = None) -> None:
        CONF.set_override(name, value, group)
        self.addCleanup(CONF.clear_override, name, group)

    def exists(self) -> bool:
        return medium.exists(self.driver, self.instance)

    def remove(self) -> None:
        medium.remove(self.driver, self.instance)

    def assert_only_its_own(self) -> None:
        self.assertFalse(self.exists())
        self.assertEqual(OWN_FILES, sorted(p.name for p in self.folder.iterdir()))

    def test_nothing(self) -> None:
        self.assertFalse(self.exists())
        self.remove()
        self.assert_only_its_own()

    @ddt.data(
        "disk.rescue",
        ".disk.rescue.new",
        "disk.config.rescue",
        ".disk.config.rescue.new",
        "kernel.rescue",
        "ramdisk.rescue",
        "nvram.rescue",
    )
    def test_files(self, name: str) -> None:
        (self.folder / name).write_bytes(b"left")
        self.assertTrue(self.exists())
        self.remove()
        self.assert_only_its_own()

    def test_the_folder_is_gone(self) -> None:
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()
        self.remove()
        self.assertFalse(self.exists())

    def test_rbd(self) -> None:
        """Of a pool that has other servers' images, this rescue's alone go."""
        self.set("images_type", "rbd", "libvirt")
        pool = {
            f"{uuid}_{name}"
            for uuid in (UUID, OTHER)
            for name in ("disk", "disk.config", "disk.rescue", "disk.config.rescue")
        }

        class RBDDriver:
            def exists(self, name: str) -> bool:
                return name in pool

            def cleanup_volumes(self, chosen: object) -> None:
                pool.difference_update(list(filter(chosen, pool)))

        with mock.patch("nova.storage.rbd_utils.RBDDriver", RBDDriver):
            self.assertTrue(self.exists())
            self.remove()
            self.assertFalse(self.exists())
        gone = {f"{UUID}_disk.rescue", f"{UUID}_disk.config.rescue"}
        self.assertEqual(6, len(pool))
        self.assertFalse(pool & gone)

    def test_lvm(self) -> None:
        self.set("images_type", "lvm", "libvirt")
        # An absolute path in place of one below /dev, where Nova looks for it.
        group_path = self.useFixture(fixtures.TempDir()).path
        self.set("images_volume_group", group_path, "libvirt")
        group = [f"{u}_{n}" for u in (UUID, OTHER) for n in ("disk", "disk.rescue")]
        removed = []

        def remove_volumes(paths: list[str]) -> None:
            removed.extend(paths)
            for path in paths:
                group.remove(Path(path).name)

        with (
            mock.patch("nova.virt.libvirt.storage.lvm.list_volumes", lambda _vg: group),
            mock.patch("nova.virt.libvirt.storage.lvm.remove_volumes", remove_volumes),
        ):
            self.assertTrue(self.exists())
            self.remove()
            self.assertFalse(self.exists())
        self.assertEqual([f"{group_path}/{UUID}_disk.rescue"], removed)
