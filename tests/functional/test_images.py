# SPDX-License-Identifier: Apache-2.0
"""Rescue images that cannot do: refused, the guest and the host as they were."""

import os
from typing import Any
from unittest import mock

import ddt
import fixtures
from nova import objects
from nova.tests.functional.api import client
from nova.virt.libvirt import utils as libvirt_utils
from oslo_utils import units
from oslo_utils.fixture import uuidsentinel as uuids

from stable_rescue.domain import recognise
from stable_rescue.domain.document import Domain
from stable_rescue.storage.store import Store
from tests.functional import base, images
from tests.functional.server import ServerTestBase

DATA = b"rescue" * 200_000
AGES_AGO = 1_000_000_000


@ddt.ddt
class HostileTest(images.ImagesTestBase):
    """Before anything of them comes to the host's image cache."""

    def assert_not_cached(self, image_id: str, reason: str) -> None:
        """Assert that a rescue is refused and its image kept out of the cache."""
        self.assert_refused(reason, image=image_id)
        self.assertFalse(self.base_of(image_id).exists())

    def test_image_with_a_backing_file_is_refused(self) -> None:
        data = self.make("qcow2", "-u", "-b", "/etc/shadow", "-F", "raw")
        self.assert_not_cached(self.add_image(data, "qcow2"), "safety check")

    def test_image_with_a_data_file_is_refused(self) -> None:
        there = str(self.files_made / "data")
        data = self.make("qcow2", "-o", f"data_file={there}")
        data = data.replace(there.encode(), b"/etc/shadow")
        self.assert_not_cached(self.add_image(data, "qcow2"), "safety check")

    def test_vmdk_image_is_refused(self) -> None:
        self.assert_not_cached(
            self.add_image(self.make("vmdk"), "vmdk"), "has disk format vmdk"
        )

    @ddt.data("vmdk", "qcow2", "vdi")
    def test_other_format_declared_as_raw_is_refused(self, image_format: str) -> None:
        self.assert_not_cached(
            self.add_image(self.make(image_format)), "not in a supported format"
        )

    def test_huge_virtual_size_is_refused(self) -> None:
        """A few hundred kilobytes, which Nova would write out as raw."""
        data = self.make("qcow2", size="200T")
        self.assert_not_cached(self.add_image(data, "qcow2"), "at most 100 GiB")

    def test_huge_size_in_glance_is_refused_without_download(self) -> None:
        image = self.add_image(DATA, size=200 * units.Ti)
        self.assert_not_cached(image, "at most 100 GiB")
        self.assertNotIn("download", self.glance_server.requests)

    def test_truncated_qcow2_is_refused(self) -> None:
        image = self.add_image(self.make("qcow2")[:64], "qcow2")
        self.assert_not_cached(image, "not in a supported format")

    def test_cdrom_on_usb_is_refused_by_old_libvirt(self) -> None:
        """Libvirt before 11.5, as Nova's fixture, makes a hard disk of it."""
        # ISO 9660: the primary volume descriptor stands in sector 16.
        iso = bytes(16 * 2048) + b"\x01CD001\x01" + bytes(2041)
        image = self.add_image(iso, "iso", {"hw_rescue_device": "cdrom"})
        self.assert_not_cached(image, "take one on usb for a disk")

    def test_wrong_checksum_is_refused(self) -> None:
        """python-glanceclient compares it."""
        image = self.add_image(DATA, os_hash_value="0" * 128)
        self.assert_not_cached(image, "Corrupt image download")

    def test_wrong_checksum_of_a_large_image_is_refused(self) -> None:
        """Nova's fetch reads it all."""
        data = os.urandom(units.Mi) * 6
        image = self.add_image(data, os_hash_value="0" * 128)
        self.assert_not_cached(image, "Corrupt image download")


class GlanceDownTest(images.ImagesTestBase):
    def test_glance_down_for_the_api_is_refused(self) -> None:
        """The API asks first, and answers for itself."""
        image = self.add_image(DATA)
        self.glance_server.down.add("show")
        self.assert_refused(image=image)

    def test_glance_down_for_the_host_is_refused(self) -> None:
        image = self.add_image(DATA)
        with mock.patch.object(
            self.computes["compute1"].driver._image_api,
            "get",
            side_effect=self.down_before(
                self.computes["compute1"].driver._image_api.get
            ),
        ):
            self.assert_refused("image service does not answer", image=image)

    def down_before(self, function: Any) -> Any:
        def ask(*args: Any, **kwargs: Any) -> Any:
            self.glance_server.down.add("show")
            return function(*args, **kwargs)

        return ask

    def test_glance_down_for_the_download_is_refused(self) -> None:
        image = self.add_image(DATA)
        self.glance_server.down.add("download")
        self.assert_refused("image service does not answer", image=image)

    def test_glance_down_after_inspection_is_refused(self) -> None:
        image = self.add_image(DATA)
        fetch = self.down_before(libvirt_utils.fetch_image)
        with mock.patch("nova.virt.libvirt.utils.fetch_image", fetch):
            self.assert_refused("image service does not answer", image=image)

    def test_download_that_breaks_off_is_refused(self) -> None:
        image = self.add_image(os.urandom(units.Mi) * 6)
        self.glance_server.cut = 5 * units.Mi
        self.assert_refused("cannot prepare the rescue", image=image)
        self.assertFalse(self.base_of(image).exists())

    def test_image_without_data_is_refused(self) -> None:
        image = self.add_image(DATA)
        del self.glance_server.data[image]
        self.assert_refused("Corrupt image download", image=image)


class UnfitTest(ServerTestBase):
    """U12: by what Glance tells alone."""

    def make_image(self, fields: dict[str, Any], **properties: str) -> str:
        image = self.create_rescue_image(hw_rescue_bus="usb", **properties)
        self.glance.images[image].update(fields)
        return image

    def test_image_with_too_large_min_disk_is_refused(self) -> None:
        self.assert_refused("1024 GiB", image=self.make_image({"min_disk": 1024}))

    def test_image_with_too_large_min_ram_is_refused(self) -> None:
        self.assert_refused("999999 MiB", image=self.make_image({"min_ram": 999999}))

    def test_image_for_other_firmware_is_refused(self) -> None:
        image = self.make_image({}, hw_firmware_type="uefi")
        self.assert_refused("boots only with UEFI", image=image)

    def test_image_for_another_machine_type_is_refused(self) -> None:
        image = self.make_image({}, hw_machine_type="q35")
        self.assert_refused("is of type pc", image=image)


class EncryptedTest(base.RescueTestBase):
    """U30: a root disk that Nova encrypts."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.create_server()
        (root,) = objects.BlockDeviceMappingList.get_by_instance_uuid(
            self.context, self.server["id"]
        )
        root.encrypted = True
        root.save()

    def test_stock_rescue_of_an_encrypted_root_disk_is_refused(self) -> None:
        power_off = self.power_offs()
        told = self.assertRaises(
            client.OpenStackApiException,
            self.rescue,
            self.server,
            self.create_rescue_image(),
        ).response.text
        self.assertIn("would show it as ciphertext", told)
        power_off.assert_not_called()
        self._wait_for_state_change(self.server, "ACTIVE")


class OwnImageTest(base.RescueTestBase):
    def test_rescue_with_the_servers_image_logs_a_warning(self) -> None:
        server = self.create_server()
        image = self.create_rescue_image(hw_rescue_bus="usb")
        instance = objects.Instance.get_by_uuid(self.context, server["id"])
        instance.image_ref = image
        instance.save()
        with self.assertLogs("stable_rescue", "WARNING") as logged:
            self.rescue(server, image)
        self._wait_for_state_change(server, "RESCUE")
        self.assertIn("the one that the server was made from", str(logged.output))


class ChoiceTest(base.RescueTestBase):
    """U26, and the order: user's, operator's, base image, own image."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.create_server()
        self.operators = self.create_rescue_image(hw_rescue_bus="usb")
        self.flags(rescue_image_id=self.operators, group="libvirt")

    def rescued_by(self, asked_for: str | None) -> tuple[str, str]:
        """Return the image of the record, and what was logged."""
        body = {"rescue_image_ref": asked_for} if asked_for else {}
        with self.assertLogs("stable_rescue.compute.image", "INFO") as logged:
            self.api.post_server_action(self.server["id"], {"rescue": body})
        self._wait_for_state_change(self.server, "RESCUE")
        record = Store(str(self.folder(self.server))).load()
        return record.image_id, str(logged.output)

    def test_image_of_the_user_comes_first(self) -> None:
        image = self.create_rescue_image(hw_rescue_bus="usb")
        found, why = self.rescued_by(image)
        self.assertEqual(image, found)
        self.assertIn("the user names it", why)

    def test_image_of_the_operator_comes_second(self) -> None:
        with mock.patch(
            "nova.virt.libvirt.LibvirtDriver._create_and_inject_local_root"
        ) as made:
            found, why = self.rescued_by(None)
        self.assertEqual(self.operators, found)
        self.assertIn("[libvirt] rescue_image_id", why)
        used = made.call_args.kwargs["disk_images"]["image_id"]
        self.assertEqual(self.operators, used)

    def test_base_image_of_the_server_comes_third(self) -> None:
        self.flags(rescue_image_id=None, group="libvirt")
        self.flags(default_mode="stable", default_bus="usb", group="stable_rescue")
        base_image = self.create_rescue_image()
        instance = objects.Instance.get_by_uuid(self.context, self.server["id"])
        instance.system_metadata["image_base_image_ref"] = base_image
        instance.save()
        found, why = self.rescued_by(None)
        self.assertEqual(base_image, found)
        self.assertIn("the server's base image", why)

    def test_operators_image_can_ask_for_a_stock_rescue(self) -> None:
        self.flags(rescue_image_id=self.create_rescue_image(), group="libvirt")
        self.api.post_server_action(self.server["id"], {"rescue": {}})
        self._wait_for_state_change(self.server, "RESCUE")
        self.assertIsNone(
            recognise.rescue_disk(Domain.parse(self.definition(self.server)))
        )


class ImageCacheTest(images.ImagesTestBase):
    """U23: the base of a long rescue is in use."""

    def setUp(self) -> None:
        super().setUp()
        # Nova does it with privileges, which its tests may not have.
        self.useFixture(fixtures.MonkeyPatch("nova.privsep.path.utime", os.utime))
        self.image = self.add_image(DATA)
        self.rescue_server()
        self.base = self.base_of(self.image)
        os.utime(self.base, (AGES_AGO, AGES_AGO))

    def age(self, *others: objects.Instance) -> None:
        """Let Nova age its image cache, as it does every 40 minutes."""
        instances = [*others, *objects.InstanceList.get_all(self.context)]
        self.computes["compute1"].driver.manage_image_cache(self.context, instances)

    def test_stock_aging_removes_the_base_of_a_rescue(self) -> None:
        with mock.patch(
            "stable_rescue.storage.image_cache.with_rescues",
            lambda instances: instances,
        ):
            self.age()
        self.assertFalse(self.base.exists())

    def test_aging_keeps_the_base_of_a_rescue(self) -> None:
        self.age()
        self.assertTrue(self.base.exists())
        medium = self.folder(self.server) / "disk.rescue"
        self.assertEqual(DATA, self.content_of(medium)[: len(DATA)])

    def test_aging_removes_the_base_after_the_rescue(self) -> None:
        self.unrescue_server()
        self.age()
        self.assertFalse(self.base.exists())

    def test_damaged_record_does_not_unprotect_other_bases(self) -> None:
        other = objects.Instance.get_by_uuid(self.context, self.server["id"])
        other.uuid = uuids.other
        folder = self.folder({"id": other.uuid})
        folder.mkdir()
        (folder / "stable_rescue.json").write_text("{")
        self.age(other)
        self.assertTrue(self.base.exists())

    def test_aging_does_not_change_the_instances_image(self) -> None:
        self.age()
        instance = objects.Instance.get_by_uuid(self.context, self.server["id"])
        self.assertNotEqual(self.image, instance.image_ref)
