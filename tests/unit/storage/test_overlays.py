# SPDX-License-Identifier: Apache-2.0
"""Overlays are made once, are bounded, and fit on the host's disk (E8, F37)."""

from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import ddt
import fixtures
from lxml import etree
from nova import conf as nova_conf
from oslo_concurrency import processutils
from oslo_utils import units
from oslotest import base

from stable_rescue import conf, exception, plan
from stable_rescue.domain import overlays as domain_overlays
from stable_rescue.storage import overlays
from tests.unit.domain import overlay_samples, samples, volume_disks

CONF = nova_conf.CONF
UUID = "0f4b0a6e-5b1c-4f7c-9b7e-0d9a4e1c3a55"
OTHER = "7c1d2e3f-5b1c-4f7c-9b7e-0d9a4e1c3a55"
INSTANCE = SimpleNamespace(uuid=UUID)


class OverlaysTestBase(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        conf.register_opts(CONF)
        self.log = self.useFixture(fixtures.FakeLogger())
        self.root = Path(self.useFixture(fixtures.TempDir()).path)
        self.set("instances_path", str(self.root))
        self.set("overlay_max_size", 10, "stable_rescue")
        self.folder = self.root / UUID
        self.folder.mkdir()

    def set(self, name: str, value: object, group: str | None = None) -> None:
        CONF.set_override(name, value, group)
        self.addCleanup(CONF.clear_override, name, group)

    def patch(self, name: str, value: object) -> None:
        self.useFixture(
            fixtures.MonkeyPatch(f"stable_rescue.storage.overlays.{name}", value)
        )


class MakeTest(OverlaysTestBase):
    def setUp(self) -> None:
        super().setUp()
        self.sizes = {"vda": units.Gi, "vdb": 40 * units.Gi, "vdc": units.Mi}
        self.free = 2**50
        self.patch(
            "nova_internals.disk_bytes", lambda _d, _i, target: self.sizes[target]
        )
        self.patch("nova_privsep_utils.supports_direct_io", lambda _path: True)
        self.patch(
            "os.statvfs",
            lambda _path: SimpleNamespace(f_bavail=self.free, f_frsize=1),
        )
        self.created: dict[str, tuple[str, int]] = {}
        self.patch("libvirt_utils.create_image", self._create)
        self.overlays = overlays.RescueOverlays(mock.sentinel.driver, INSTANCE)

    def _create(self, path: str, image_format: str, size: int) -> None:
        Path(path).write_bytes(b"header")
        self.created[Path(path).name] = image_format, size

    def measure(self) -> None:
        original = samples.domain("pc")
        for target in list(self._targets(original) - self.sizes.keys()):
            samples.remove_disk(original, target)
        media = plan.RescueMedia(samples.MEDIUM, overlays=self.overlays.describe())
        request = plan.RescueRequest("disk", "usb", discard=True)
        self.overlays.measure(plan.derive(original, request, media), is_active=True)

    def _targets(self, domain: object) -> set[str]:
        return {
            disk.find("target").get("dev")
            for disk in domain.disks()
            if disk.get("device") == "disk"
        }

    def test_each_disk_has_an_overlay_of_its_size(self) -> None:
        self.measure()
        self.overlays.make()
        expected = {
            f"overlay.{target}.rescue": ("qcow2", size)
            for target, size in self.sizes.items()
        }
        self.assertEqual(expected, self.created)

    def test_file_is_as_long_as_the_limit_in_the_definition(self) -> None:
        self.measure()
        self.overlays.make()
        described = self.overlays.describe()
        self.assertEqual({"vdb": 10 * units.Gi}, described.limits)
        self.assertEqual(
            10 * units.Gi, (self.folder / "overlay.vdb.rescue").stat().st_size
        )
        whole = (self.folder / "overlay.vda.rescue").stat().st_size
        self.assertEqual(overlays.largest_overlay(units.Gi), whole)

    def test_failure_of_qemu_img_is_refused_without_its_command(self) -> None:
        failure = processutils.ProcessExecutionError(cmd=f"qemu-img {self.folder}")
        self.patch("libvirt_utils.create_image", mock.Mock(side_effect=failure))
        self.measure()
        error = self.assertRaises(exception.Refused, self.overlays.make)
        self.assertNotIn(str(self.folder), str(error))
        self.assertIn(str(self.folder), self.log.output)

    def test_without_a_bound_no_disk_has_a_limit(self) -> None:
        self.set("overlay_max_size", 0, "stable_rescue")
        self.measure()
        self.assertEqual({}, self.overlays.describe().limits)

    def test_host_without_space_for_the_limits_is_refused(self) -> None:
        self.free = 11 * units.Gi
        error = self.assertRaises(exception.Refused, self.measure)
        self.assertIn("has no space", str(error))
        self.assertIn("11.0 GiB are free", self.log.output)
        self.free = 12 * units.Gi
        self.measure()

    def test_space_of_other_rescues_is_not_promised_again(self) -> None:
        self.free = 20 * units.Gi
        other = self.root / OTHER
        other.mkdir()
        with (other / "overlay.vda.rescue").open("wb") as stream:
            stream.truncate(9 * units.Gi)
        error = self.assertRaises(exception.Refused, self.measure)
        self.assertIn("has no space", str(error))
        self.assertIn("11.0 GiB are free", self.log.output)

    def test_disk_without_page_cache_needs_direct_io(self) -> None:
        self.patch("nova_privsep_utils.supports_direct_io", lambda _path: False)
        error = self.assertRaises(exception.Refused, self.measure)
        self.assertIn("disk vda is used without the host's page cache", str(error))


@ddt.ddt
class SizeTest(OverlaysTestBase):
    """The size of a disk that no guest uses is read by qemu-img."""

    def setUp(self) -> None:
        super().setUp()
        self.asked: list[tuple[str, str]] = []
        self.patch("images.privileged_qemu_img_info", self._info)
        self.domain = overlay_samples.with_volumes()

    def _info(self, path: str, image_format: str) -> SimpleNamespace:
        self.asked.append((path, image_format))
        return SimpleNamespace(virtual_size=123)

    @ddt.data(
        ("vda", "/var/lib/nova/instances/0f4b0a6e/disk", "raw"),
        ("vdd", f"rbd:volumes/volume-{volume_disks.RBD}:id=cinder", "raw"),
        ("vde", "/dev/dm-3", "luks"),
        ("vdg", "/images/a", "qcow2"),
    )
    @ddt.unpack
    def test_format_is_named_and_never_probed(
        self, target: str, path: str, image_format: str
    ) -> None:
        disk = overlay_samples.disk_at(self.domain, target)
        self.assertEqual(123, overlays._size_of(disk, target))
        self.assertEqual([(path, image_format)], self.asked)

    def test_storage_that_qemu_img_cannot_name_is_refused(self) -> None:
        disk = etree.fromstring(volume_disks.RBD_DISK)
        disk.find("source").set("protocol", "gluster")
        error = self.assertRaises(exception.Refused, overlays._size_of, disk, "vdd")
        self.assertIn("start the server first", str(error))


@ddt.ddt
class FilesTest(OverlaysTestBase):
    @ddt.data(0, 1, 512, units.Mi, units.Gi + 512, 64 * units.Ti)
    def test_largest_overlay_holds_the_disk_and_its_tables(self, size: int) -> None:
        clusters = -(-size // (64 * units.Ki))
        largest = overlays.largest_overlay(size)
        self.assertGreater(largest, clusters * (64 * units.Ki + 10) if size else 0)
        self.assertLess(largest, size + size // 4000 + 3 * units.Mi)

    def test_overlay_of_one_disk_is_removed(self) -> None:
        for name in ("overlay.vda.rescue", "overlay.vdb.rescue", "disk"):
            (self.folder / name).write_text("x")
        self.assertTrue(overlays.exist(INSTANCE))
        overlays.remove_one(INSTANCE, "vda")
        overlays.remove_one(INSTANCE, "vdz")
        left = sorted(path.name for path in self.folder.iterdir())
        self.assertEqual(["disk", "overlay.vdb.rescue"], left)
        overlays.remove(INSTANCE)
        self.assertEqual(["disk"], [path.name for path in self.folder.iterdir()])
        self.assertFalse(overlays.exist(INSTANCE))

    def test_names_agree_with_the_definition(self) -> None:
        rescue = overlay_samples.discarding(samples.parsed("pc")).rescue
        for target in domain_overlays.targets(rescue):
            path = Path(overlays._path(INSTANCE, target))
            path.write_text("x")
            self.assertIn(path, overlays.in_folder(self.folder))
