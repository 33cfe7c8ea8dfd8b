# SPDX-License-Identifier: Apache-2.0
"""How a volume is checked: its device, size, secret and attachment."""

import contextlib
import threading
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from lxml import etree
from nova import context

from stable_rescue import conf, exception, nova_internals
from stable_rescue.domain import sources
from stable_rescue.domain.document import Domain
from stable_rescue.storage import attachment, volume, volumes
from tests.unit.domain import samples

conf.register_opts(volumes.CONF)

GIB = 1024**3
ID = "10000000-0000-4000-8000-000000000000"


class Device(dict):
    """The part of Nova's DriverVolumeBlockDevice that stable rescue reads."""

    volume_id = ID
    volume_size = 2


def device(**data: Any) -> Device:
    info = {"driver_volume_type": "iscsi", "serial": ID, "data": data}
    return Device(
        connection_info=info, mount_device="/dev/vdd", attachment_id="attachment"
    )


def disk(inner: str = "", path: str = "/dev/sdb") -> etree._Element:
    return etree.fromstring(
        f"<disk type='block' device='disk'><source dev='{path}'>{inner}</source>"
        f"<target dev='vdd' bus='virtio'/><serial>{ID}</serial></disk>"
    )


def domain_with(element: etree._Element) -> Domain:
    draft = samples.domain("q35").copy()
    draft.append_device(element)
    return draft


class HostTestBase(unittest.TestCase):
    """A host where the functions of nova_internals are replaced."""

    def setUp(self) -> None:
        self.driver, self.instance = mock.Mock(), mock.Mock(uuid="u")
        self.context = context.get_admin_context()
        self.connector = mock.Mock()
        self.connector.get_volume_paths.return_value = []
        self.size: int | None = 2 * GIB
        self.patch(
            "stable_rescue.nova_internals",
            "connector_of",
            return_value=self.connector,
        )
        self.has_secret = self.patch(
            "stable_rescue.nova_internals", "has_volume_secret", return_value=True
        )
        self.make_secret = self.patch(
            "stable_rescue.nova_internals", "make_volume_secret"
        )
        self.patch("stable_rescue.storage.attachment", "save")
        self.patch(
            "stable_rescue.nova_internals",
            "volume_disk_xml",
            side_effect=lambda _driver, info, _mapping: etree.tostring(
                disk(path=info["data"]["device_path"]), encoding="unicode"
            ),
        )
        self.patch(
            "os_brick.utils",
            "get_device_size",
            side_effect=lambda _connector, _path: self.size,
        )
        self.patch("stat", "S_ISBLK", return_value=True)
        self.patch("os", "stat")

    def patch(self, module: str, name: str, **how: Any) -> mock.Mock:
        patcher = mock.patch(f"{module}.{name}", **how)
        self.addCleanup(patcher.stop)
        return patcher.start()

    def verify(self, *inner: str, **data: Any) -> dict[str, str]:
        return volumes.verify(
            self.driver,
            self.context,
            self.instance,
            {"block_device_mapping": [device(**data)]},
            domain_with(disk(*inner)),
        )


class DeviceTest(HostTestBase):
    def test_device_of_expected_size_is_accepted(self) -> None:
        verified = self.verify()
        (disk_xml,) = verified.values()
        self.assertEqual("/dev/sdb", sources.path_of(etree.fromstring(disk_xml)))

    def test_larger_device_is_accepted(self) -> None:
        """Some storage arrays round up."""
        self.size = 3 * GIB
        self.verify()

    def test_smaller_device_is_refused(self) -> None:
        """The device may belong to another volume."""
        self.size = 1 * GIB
        with self.assertRaisesRegex(
            exception.Refused, rf"volume {ID} \(vdd\) has 1073741824 bytes"
        ):
            self.verify()

    def test_opened_luks_device_may_lack_its_header(self) -> None:
        self.size = 2 * GIB - 2 * 1024**2
        self.verify(encrypted=True)
        with self.assertRaises(exception.Refused):
            self.verify()

    def test_device_of_unknown_size_is_accepted(self) -> None:
        self.size = None
        self.verify()

    def test_device_that_hangs_is_refused_in_time(self) -> None:
        """A multipath device without paths queues each read."""
        volumes.CONF.set_override("volume_check_timeout", 1, "stable_rescue")
        self.addCleanup(
            volumes.CONF.clear_override, "volume_check_timeout", "stable_rescue"
        )
        hangs = threading.Event()
        self.addCleanup(hangs.set)
        self.connector.check_valid_device.side_effect = lambda _path: hangs.wait(60)
        for _ in range(2):
            with self.assertRaisesRegex(exception.Refused, "did not answer .* 1 sec"):
                self.verify()
        # The second attempt leaves no second read behind.
        self.connector.check_valid_device.assert_called_once()
        hangs.set()
        for thread in threading.enumerate():
            if thread.name == "stable-rescue-volume":
                thread.join(60)
        self.verify()

    def test_unreadable_device_is_refused(self) -> None:
        self.connector.check_valid_device.return_value = False
        with self.assertRaisesRegex(exception.Refused, "cannot be read"):
            self.verify()


class SwappedTest(HostTestBase):
    """Nova has swapped a volume for another, whose disk keeps the old serial."""

    def verify_as(self, disk_xml: str, driver_volume_type: str = "iscsi") -> None:
        swapped = device(name="volumes/new")
        swapped["connection_info"]["driver_volume_type"] = driver_volume_type
        volumes.verify(
            self.driver,
            self.context,
            self.instance,
            {"block_device_mapping": [swapped]},
            domain_with(
                etree.fromstring(
                    f"<disk type='block' device='disk'>{disk_xml}"
                    "<target dev='vdd' bus='virtio'/><serial>old</serial></disk>"
                )
            ),
        )

    def test_swapped_volume_is_checked(self) -> None:
        self.size = 1 * GIB
        with self.assertRaisesRegex(exception.Refused, f"volume {ID} .* has"):
            self.verify_as("<source dev='/dev/sdb'/>")

    def test_image_in_ceph_that_is_not_the_volume_is_refused(self) -> None:
        self.patch("stable_rescue.storage.rbd", "size_of", return_value=2 * GIB)
        with self.assertRaisesRegex(exception.Refused, "is not the disk vdd"):
            self.verify_as("<source protocol='rbd' name='volumes/x'/>", "rbd")


class SecretTest(HostTestBase):
    """The rescue of a server with native LUKS needs the secret in libvirt."""

    LUKS = "<encryption format='luks'><secret type='passphrase' uuid='x'/></encryption>"

    def test_lost_secret_is_created(self) -> None:
        self.has_secret.return_value = False
        self.verify(self.LUKS)
        (_driver, _context, info), _ = self.make_secret.call_args
        self.assertEqual(ID, info["serial"])

    def test_existing_secret_is_kept(self) -> None:
        self.verify(self.LUKS)
        self.make_secret.assert_not_called()

    def test_unencrypted_volume_gets_no_secret(self) -> None:
        self.has_secret.return_value = False
        self.verify()
        self.make_secret.assert_not_called()

    def test_key_manager_error_is_refused_without_details(self) -> None:
        self.has_secret.return_value = False
        self.make_secret.side_effect = OSError("https://192.0.2.1 key 123")
        with self.assertRaises(exception.Refused) as raised:
            self.verify(self.LUKS)
        self.assertNotIn("192.0.2.1", str(raised.exception))


class EncryptorTest(unittest.TestCase):
    def test_encryptor_gets_no_device_path(self) -> None:
        """Nova formats a device that is passed and has no LUKS header."""
        driver = mock.Mock()
        info = {"serial": ID, "data": {"device_path": "/dev/sdb", "encrypted": True}}
        nova_internals.make_volume_secret(driver, mock.sentinel.context, info)
        passed = driver._attach_encryptor.call_args.args[1]
        self.assertEqual({"serial": ID, "data": {"encrypted": True}}, passed)
        self.assertIn("device_path", info["data"])


class RollbackTest(HostTestBase):
    def setUp(self) -> None:
        super().setUp()
        for name, returned in (
            ("volumes.is_connected", False),
            ("attachment.exists", True),
        ):
            module, _, function = f"stable_rescue.storage.{name}".rpartition(".")
            self.patch(module, function, return_value=returned)
        self.patch("stable_rescue.nova_internals", "is_active", return_value=False)
        self.patch(
            "stable_rescue.nova_internals",
            "volume_lock",
            return_value=contextlib.nullcontext(),
        )
        self.driver.get_volume_connector.return_value = {}

    def test_secret_is_destroyed_if_the_rescue_has_made_it(self) -> None:
        host = (self.driver, self.context, self.instance)
        mapping = {"block_device_mapping": [device(device_path="/dev/sdb")]}
        for had_secret in (True, False):
            with self.subTest(had_secret=had_secret):
                connections: list[volumes.Connection] = []
                self.has_secret.return_value = had_secret
                volumes.connect(*host, mapping, domain_with(disk()), connections)
                # Nova makes the secret when it connects the volume.
                self.has_secret.return_value = True
                volumes.disconnect(*host, connections)
                options = self.driver._disconnect_volume.call_args.kwargs
                self.assertEqual({"destroy_secrets": not had_secret}, options)


class IsConnectedTest(HostTestBase):
    def is_connected(self) -> bool:
        tested = volume.Volume(device(device_path="/dev/sdb"), disk())
        return volume.is_connected(self.driver, tested, tested.connection_info())

    def test_volume_without_a_path_is_not_connected(self) -> None:
        self.assertFalse(self.is_connected())

    def test_volume_with_an_existing_path_is_connected(self) -> None:
        self.connector.get_volume_paths.return_value = [__file__]
        with mock.patch("os.path.exists", return_value=True):
            self.assertTrue(self.is_connected())
        (data,) = self.connector.get_volume_paths.call_args.args
        self.assertNotIn("device_path", data)

    def test_volume_with_unknown_paths_counts_as_connected(self) -> None:
        """If in doubt, a rollback leaves the volume connected."""
        self.connector.get_volume_paths.side_effect = NotImplementedError
        self.assertTrue(self.is_connected())


class HostChangesTest(unittest.TestCase):
    """Which properties of the host changed since the volume was attached."""

    def changes(self, host: dict[str, Any], **info: Any) -> list[str]:
        return attachment.host_changes({"data": {}} | info, host)

    def test_connection_without_host_properties_has_no_changes(self) -> None:
        self.assertEqual([], self.changes({"initiator": "iqn.new", "wwpns": ["a"]}))

    def test_stored_connector_is_compared(self) -> None:
        old = {"initiator": "iqn.1", "ip": "192.0.2.1", "multipath": False, "host": "h"}
        self.assertEqual([], self.changes(old, connector=old))
        for key, value in (
            ("initiator", "iqn.2"),
            ("ip", "192.0.2.2"),
            ("multipath", True),
        ):
            with self.subTest(key):
                changed = self.changes(old | {key: value}, connector=old)
                self.assertEqual([key], changed)

    def test_fibre_channel_addresses_are_compared(self) -> None:
        data = {"initiator_target_map": {"10:00:00:AA": ["x"], "10:00:00:BB": ["x"]}}
        same = {"wwpns": ["100000aa"]}
        self.assertEqual([], self.changes(same, data=data))
        self.assertEqual(["wwpns"], self.changes({"wwpns": ["100000cc"]}, data=data))
        self.assertEqual([], self.changes({}, data=data))

    def test_nvme_names_are_compared(self) -> None:
        data = {"host_nqn": "nqn.1"}
        self.assertEqual([], self.changes({"nqn": "nqn.1"}, data=data))
        self.assertEqual(["nqn"], self.changes({"nqn": "nqn.2"}, data=data))


class CheckTest(unittest.TestCase):
    """Checks of a volume that is not a block device."""

    def test_smaller_rbd_image_is_refused(self) -> None:
        tested = volume.Volume(device(), disk())
        info = {"driver_volume_type": "rbd", "data": {}}
        with (
            mock.patch("stable_rescue.storage.rbd.size_of", return_value=7),
            self.assertRaisesRegex(exception.Refused, "has 7 bytes"),
        ):
            volume.check(mock.Mock(), tested, info, None)

    def test_missing_file_of_a_volume_is_refused(self) -> None:
        """The size of a file is not checked: it depends on the format."""
        tested = volume.Volume(device(), disk(path=str(Path(__file__))))
        info = tested.connection_info() | {"driver_volume_type": "nfs"}
        with mock.patch("stable_rescue.nova_internals.connector_of", return_value=None):
            volume.check(mock.Mock(), tested, info, __file__)
            with self.assertRaisesRegex(exception.Refused, "is missing"):
                volume.check(mock.Mock(), tested, info, f"{__file__}.gone")

    def test_file_without_access_is_accepted(self) -> None:
        """Some shares give access to QEMU's user only."""
        tested = volume.Volume(device(), disk())
        with mock.patch("os.stat", side_effect=PermissionError(13, "denied")):
            volume.check(mock.Mock(), tested, tested.connection_info(), "/mnt/x")
