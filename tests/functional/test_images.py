# SPDX-License-Identifier: Apache-2.0
"""Rescue images: which one is used, which are refused, and how long they are cached."""

import os
from typing import Any
from unittest import mock

import fixtures
from nova import objects
from nova.virt.libvirt import utils as libvirt_utils
from oslo_utils import units
from oslo_utils.fixture import uuidsentinel as uuids

from tests.functional import images
from tests.functional.server import ServerTestBase

DATA = b"rescue" * 200_000
LONG_AGO = 1_000_000_000


class HostileImageTest(images.ImagesTestBase):
    """A hostile image is refused before Nova caches it."""

    def test_hostile_image_is_refused_and_not_cached(self) -> None:
        self.run_checks()

    def assert_refused_uncached(self, image_id: str, reason: str) -> None:
        """Assert that the rescue is refused and that the image is not in the cache."""
        self.assert_refused(reason, image=image_id)
        self.assertFalse(self.base_of(image_id).exists())

    def check_image_with_a_backing_file_is_refused(self) -> None:
        data = self.make("qcow2", "-u", "-b", "/etc/shadow", "-F", "raw")
        self.assert_refused_uncached(self.add_image(data, "qcow2"), "safety check")

    def check_image_with_a_data_file_is_refused(self) -> None:
        data_file = str(self.files_made / "data")
        data = self.make("qcow2", "-o", f"data_file={data_file}")
        data = data.replace(data_file.encode(), b"/etc/shadow")
        self.assert_refused_uncached(self.add_image(data, "qcow2"), "safety check")

    def check_vmdk_image_is_refused(self) -> None:
        self.assert_refused_uncached(
            self.add_image(self.make("vmdk"), "vmdk"), "has disk format vmdk"
        )

    def check_other_format_declared_as_raw_is_refused(self) -> None:
        for image_format in ("vmdk", "qcow2", "vdi"):
            self.assert_refused_uncached(
                self.add_image(self.make(image_format)), "not in a supported format"
            )

    def check_huge_virtual_size_is_refused(self) -> None:
        """The file has some hundred kilobytes, but Nova would convert it to raw."""
        data = self.make("qcow2", size="200T")
        self.assert_refused_uncached(self.add_image(data, "qcow2"), "at most 100 GiB")

    def check_huge_size_in_glance_is_refused_without_download(self) -> None:
        self.glance_server.requests.clear()
        image = self.add_image(DATA, size=200 * units.Ti)
        self.assert_refused_uncached(image, "at most 100 GiB")
        self.assertNotIn("download", self.glance_server.requests)

    def check_truncated_qcow2_is_refused(self) -> None:
        image = self.add_image(self.make("qcow2")[:64], "qcow2")
        self.assert_refused_uncached(image, "not in a supported format")

    def check_cdrom_on_usb_is_refused_by_old_libvirt(self) -> None:
        """F34: before libvirt 11.5 the guest would see a hard disk."""
        # The primary volume descriptor of ISO 9660 is in sector 16.
        iso = bytes(16 * 2048) + b"\x01CD001\x01" + bytes(2041)
        image = self.add_image(iso, "iso", {"hw_rescue_device": "cdrom"})
        self.assert_refused_uncached(image, "see a cdrom on usb as a disk")

    def check_wrong_checksum_is_refused(self) -> None:
        image = self.add_image(DATA, os_hash_value="0" * 128)
        self.assert_refused_uncached(image, "Corrupt image download")

    def check_wrong_checksum_of_a_large_image_is_refused(self) -> None:
        """The inspection does not read all of it; Nova's download does."""
        data = os.urandom(units.Mi) * 6
        image = self.add_image(data, os_hash_value="0" * 128)
        self.assert_refused_uncached(image, "Corrupt image download")


class GlanceDownTest(images.ImagesTestBase):
    """A rescue is refused if Glance fails at any point (U6)."""

    def test_rescue_is_refused_if_glance_fails_at_any_point(self) -> None:
        self.run_checks()

    def assert_refused(self, *reasons: str, **options: Any) -> str:
        """Assert that a rescue is refused, and let Glance work again."""
        text = super().assert_refused(*reasons, **options)
        self.glance_server.down.clear()
        self.glance_server.cut = None
        return text

    def after_glance_went_down(self, function: Any) -> Any:
        """Return the function, preceded by a failure of Glance."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self.glance_server.down.add("show")
            return function(*args, **kwargs)

        return call

    def check_glance_down_for_the_api_is_refused(self) -> None:
        """The API reads the image before it calls the host."""
        image = self.add_image(DATA)
        self.glance_server.down.add("show")
        self.assert_refused(image=image)

    def check_glance_down_for_the_host_is_refused(self) -> None:
        image = self.add_image(DATA)
        image_api = self.driver._image_api
        get = self.after_glance_went_down(image_api.get)
        with mock.patch.object(image_api, "get", side_effect=get):
            self.assert_refused("image service does not answer", image=image)

    def check_glance_down_for_the_download_is_refused(self) -> None:
        image = self.add_image(DATA)
        self.glance_server.down.add("download")
        self.assert_refused("image service does not answer", image=image)

    def check_glance_down_after_inspection_is_refused(self) -> None:
        image = self.add_image(DATA)
        fetch = self.after_glance_went_down(libvirt_utils.fetch_image)
        with mock.patch("nova.virt.libvirt.utils.fetch_image", fetch):
            self.assert_refused("image service does not answer", image=image)

    def check_download_that_breaks_off_is_refused(self) -> None:
        image = self.add_image(os.urandom(units.Mi) * 6)
        self.glance_server.cut = 5 * units.Mi
        self.assert_refused("cannot prepare the rescue", image=image)
        self.assertFalse(self.base_of(image).exists())

    def check_image_without_data_is_refused(self) -> None:
        image = self.add_image(DATA)
        del self.glance_server.data[image]
        self.assert_refused("Corrupt image download", image=image)


class UnsuitableImageTest(ServerTestBase):
    """An image that does not suit the server is refused by its metadata (U12)."""

    def test_unsuitable_image_is_refused(self) -> None:
        self.run_checks()

    def make_image(self, fields: dict[str, Any], **properties: str) -> str:
        """Create an image with fields and properties; return its id."""
        image = self.create_rescue_image(hw_rescue_bus="usb", **properties)
        self.glance.images[image].update(fields)
        return image

    def check_image_with_too_large_min_disk_is_refused(self) -> None:
        self.assert_refused("1024 GiB", image=self.make_image({"min_disk": 1024}))

    def check_image_with_too_large_min_ram_is_refused(self) -> None:
        self.assert_refused("999999 MiB", image=self.make_image({"min_ram": 999999}))

    def check_image_for_other_firmware_is_refused(self) -> None:
        image = self.make_image({}, hw_firmware_type="uefi")
        self.assert_refused("boots only with UEFI", image=image)

    def check_image_for_another_machine_type_is_refused(self) -> None:
        image = self.make_image({}, hw_machine_type="q35")
        self.assert_refused("but the server has pc", image=image)


class EncryptedTest(ServerTestBase):
    """The root disk is encrypted by Nova (U30)."""

    def make_server(self) -> None:
        super().make_server()
        (root,) = objects.BlockDeviceMappingList.get_by_instance_uuid(
            self.context, self.server["id"]
        )
        root.encrypted = True
        root.save()

    def test_stock_rescue_of_an_encrypted_root_disk_is_refused(self) -> None:
        self.assert_refused(
            "would show it as ciphertext", image=self.create_rescue_image()
        )


class SameImageTest(ServerTestBase):
    def test_rescue_with_the_servers_image_logs_a_warning(self) -> None:
        instance = self.instance()
        instance.image_ref = self.image
        instance.save()
        with self.assertLogs("stable_rescue", "WARNING") as logged:
            self.rescue_server()
        self.assertIn("the one that the server was made from", str(logged.output))


class ImageChoiceTest(ServerTestBase):
    """The user's image comes first, then the operator's, then the base image (U26)."""

    def setUp(self) -> None:
        super().setUp()
        self.operators_image = self.create_rescue_image(hw_rescue_bus="usb")
        self.flags(rescue_image_id=self.operators_image, group="libvirt")

    def rescue_with(self, image: str | None) -> tuple[str, str]:
        """Rescue the server with an image, or with none.

        :returns: the id of the image in the record, and the log
        """
        body = {"rescue_image_ref": image} if image else {}
        with self.assertLogs("stable_rescue.compute.image", "INFO") as logged:
            self.api.post_server_action(self.server["id"], {"rescue": body})
        self._wait_for_state_change(self.server, "RESCUE")
        return self.record().image_id, str(logged.output)

    def test_image_of_the_user_comes_first(self) -> None:
        used, log = self.rescue_with(self.image)
        self.assertEqual(self.image, used)
        self.assertIn("the user has named it", log)

    def test_image_of_the_operator_comes_second(self) -> None:
        with mock.patch(
            "nova.virt.libvirt.LibvirtDriver._create_and_inject_local_root"
        ) as create:
            used, log = self.rescue_with(None)
        self.assertEqual(self.operators_image, used)
        self.assertIn("[libvirt] rescue_image_id", log)
        on_disk = create.call_args.kwargs["disk_images"]["image_id"]
        self.assertEqual(self.operators_image, on_disk)

    def test_base_image_of_the_server_comes_third(self) -> None:
        self.flags(rescue_image_id=None, group="libvirt")
        self.flags(default_mode="stable", default_bus="usb", group="stable_rescue")
        base_image = self.create_rescue_image()
        instance = self.instance()
        instance.system_metadata["image_base_image_ref"] = base_image
        instance.save()
        used, log = self.rescue_with(None)
        self.assertEqual(base_image, used)
        self.assertIn("the server's base image", log)

    def test_refusal_before_the_first_phase_is_an_event(self) -> None:
        self.flags(rescue_image_id=uuids.gone, group="libvirt")
        self.error_of(self.api.post_server_action, self.server["id"], {"rescue": {}})
        event = self.last_event(self.server)
        self.assertEqual("compute_rescue_plan", event["event"])
        self.assertIn("the rescue image does not exist", event["details"])
        self.flags(virt_type="lxc", group="libvirt")
        self.assert_refused("not possible with virt_type lxc")

    def test_operators_image_can_ask_for_a_stock_rescue(self) -> None:
        self.flags(rescue_image_id=self.create_rescue_image(), group="libvirt")
        self.api.post_server_action(self.server["id"], {"rescue": {}})
        self._wait_for_state_change(self.server, "RESCUE")
        self.assertIsNone(self.rescue_disk())


class ImageCacheTest(images.ImagesTestBase):
    """Nova's image cache keeps the base of a rescue medium during the rescue (U23)."""

    def setUp(self) -> None:
        super().setUp()
        # Nova needs privileges for this, which tests may not have.
        self.useFixture(fixtures.MonkeyPatch("nova.privsep.path.utime", os.utime))
        self.image = self.add_image(DATA)
        self.rescue_server()
        self.base = self.base_of(self.image)
        os.utime(self.base, (LONG_AGO, LONG_AGO))

    def age(self, *others: objects.Instance) -> None:
        """Run the periodic task that ages Nova's image cache."""
        instances = [*others, *objects.InstanceList.get_all(self.context)]
        self.driver.manage_image_cache(self.context, instances)

    def test_stock_aging_removes_the_base_of_a_rescue(self) -> None:
        with mock.patch(
            "stable_rescue.storage.image_cache.in_use",
            lambda _driver, instances: instances,
        ):
            self.age()
        self.assertFalse(self.base.exists())

    def test_aging_keeps_the_base_of_a_rescue(self) -> None:
        self.age()
        self.assertTrue(self.base.exists())
        medium = self.folder(self.server) / "disk.rescue"
        self.assertEqual(DATA, self.content_of(medium)[: len(DATA)])

    def test_aging_keeps_the_base_of_a_rescue_without_record(self) -> None:
        self.store().remove_record()
        self.age()
        self.assertTrue(self.base.exists())

    def test_aging_keeps_the_base_of_a_stock_rescue(self) -> None:
        self.unrescue_server()
        self.glance_server.images[self.image]["properties"] = {}
        self.rescue_server()
        # As if the rescue had begun under Nova's manager.
        self.store().remove_record()
        for running in (True, False):
            os.utime(self.base, (LONG_AGO, LONG_AGO))
            if not running:
                self.domain().destroy()
            self.age()
            self.assertTrue(self.base.exists())

    def test_aging_removes_the_base_after_the_rescue(self) -> None:
        self.unrescue_server()
        self.age()
        self.assertFalse(self.base.exists())

    def test_damaged_record_does_not_unprotect_other_bases(self) -> None:
        other = self.instance()
        other.uuid = uuids.other
        folder = self.folder({"id": other.uuid})
        folder.mkdir()
        (folder / "stable_rescue.json").write_text("{")
        self.age(other)
        self.assertTrue(self.base.exists())

    def test_aging_does_not_change_the_instances_image(self) -> None:
        self.age()
        self.assertNotEqual(self.image, self.instance().image_ref)
