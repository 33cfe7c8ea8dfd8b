# SPDX-License-Identifier: Apache-2.0
"""What is found out of a volume: its device, size, secret, attachment, Ceph image."""

import errno
import sys
import types
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from lxml import etree
from nova import context

from stable_rescue import conf, exception, nova_internals
from stable_rescue.domain import sources
from stable_rescue.domain.document import Domain
from stable_rescue.storage import attachment, rbd, volume, volumes
from tests.unit.domain import samples

conf.register_opts(volumes.CONF)

GIB = 1024**3
ID = "10000000-0000-4000-8000-000000000000"


class Device(dict):
    """What Nova's DriverVolumeBlockDevice is to us."""

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
    domain = samples.domain("q35")
    domain.devices.append(element)
    return domain


class HostTestBase(unittest.TestCase):
    """A host with Nova's driver in part: what nova_internals calls is replaced."""

    def setUp(self) -> None:
        self.driver, self.instance = mock.Mock(), mock.Mock(uuid="u")
        self.context = context.get_admin_context()
        self.connector = mock.Mock()
        self.connector.get_volume_paths.return_value = []
        self.size: int | None = 2 * GIB
        self.internals = self.patch(
            "stable_rescue.nova_internals",
            "connector_of",
            return_value=self.connector,
        )
        self.secret = self.patch(
            "stable_rescue.nova_internals", "has_volume_secret", return_value=True
        )
        self.made = self.patch("stable_rescue.nova_internals", "make_volume_secret")
        self.saved = self.patch("stable_rescue.storage.attachment", "save")
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

    def verify(self, *inner: str, **data: Any) -> volumes.Connected:
        return volumes.verify(
            self.driver,
            self.context,
            self.instance,
            {"block_device_mapping": [device(**data)]},
            domain_with(disk(*inner)),
        )


class SizeTest(HostTestBase):
    def test_as_expected(self) -> None:
        found = self.verify()
        (element,) = found.disks.values()
        self.assertEqual("/dev/sdb", sources.path_of(etree.fromstring(element)))
        self.assertEqual((), found.made)

    def test_larger_than_asked_for(self) -> None:
        """Arrays round up."""
        self.size = 3 * GIB
        self.verify()

    def test_smaller(self) -> None:
        """It may be another volume's device."""
        self.size = 1 * GIB
        with self.assertRaisesRegex(exception.Refused, f"{ID} .vdd. has 1073741824"):
            self.verify()

    def test_smaller_by_the_header_of_an_opened_luks_volume(self) -> None:
        self.size = 2 * GIB - 2 * 1024**2
        self.verify(encrypted=True)
        with self.assertRaises(exception.Refused):
            self.verify()

    def test_not_told(self) -> None:
        self.size = None
        self.verify()

    def test_not_readable(self) -> None:
        self.connector.check_valid_device.return_value = False
        with self.assertRaisesRegex(exception.Refused, "cannot be read"):
            self.verify()


class SecretTest(HostTestBase):
    """Native LUKS: libvirt needs the secret again before the rescue can start."""

    LUKS = "<encryption format='luks'><secret type='passphrase' uuid='x'/></encryption>"

    def test_lost(self) -> None:
        self.secret.return_value = False
        self.verify(self.LUKS)
        (_driver, _context, info), _ = self.made.call_args
        self.assertEqual(ID, info["serial"])

    def test_there(self) -> None:
        self.verify(self.LUKS)
        self.made.assert_not_called()

    def test_of_a_volume_that_is_not_encrypted(self) -> None:
        self.secret.return_value = False
        self.verify()
        self.made.assert_not_called()

    def test_the_key_manager_is_down(self) -> None:
        self.secret.return_value = False
        self.made.side_effect = OSError("https://192.0.2.1 key 123")
        with self.assertRaises(exception.Refused) as raised:
            self.verify(self.LUKS)
        self.assertNotIn("192.0.2.1", str(raised.exception))


class EncryptorTest(unittest.TestCase):
    def test_it_is_not_told_of_a_device(self) -> None:
        """It would format one on which it finds no LUKS."""
        driver = mock.Mock()
        info = {"serial": ID, "data": {"device_path": "/dev/sdb", "encrypted": True}}
        nova_internals.make_volume_secret(driver, mock.sentinel.context, info)
        told = driver._attach_encryptor.call_args.args[1]
        self.assertEqual({"serial": ID, "data": {"encrypted": True}}, told)
        self.assertIn("device_path", info["data"])


class IsThereTest(HostTestBase):
    def is_there(self) -> bool:
        found = volume.Volume(device(device_path="/dev/sdb"), disk())
        return volume.is_there(self.driver, found, found.connection_info())

    def test_its_connector_knows_no_path(self) -> None:
        self.assertFalse(self.is_there())

    def test_its_connector_knows_a_path(self) -> None:
        self.connector.get_volume_paths.return_value = [__file__]
        with mock.patch("os.path.exists", return_value=True):
            self.assertTrue(self.is_there())
        (data,) = self.connector.get_volume_paths.call_args.args
        self.assertNotIn("device_path", data)

    def test_its_connector_cannot_tell(self) -> None:
        """What is not known to be ours is left alone."""
        self.connector.get_volume_paths.side_effect = NotImplementedError
        self.assertTrue(self.is_there())


class ChangesTest(unittest.TestCase):
    """Is the host what it was when the volume was attached?"""

    def changes(self, host: dict[str, Any], **info: Any) -> list[str]:
        return attachment.changes({"data": {}} | info, host)

    def test_nothing_is_told(self) -> None:
        self.assertEqual([], self.changes({"initiator": "iqn.new", "wwpns": ["a"]}))

    def test_stashed_connector(self) -> None:
        own = {"initiator": "iqn.1", "ip": "192.0.2.1", "multipath": False, "host": "h"}
        self.assertEqual([], self.changes(own, connector=own))
        for key, value in (
            ("initiator", "iqn.2"),
            ("ip", "192.0.2.2"),
            ("multipath", True),
        ):
            with self.subTest(key):
                changed = self.changes(own | {key: value}, connector=own)
                self.assertEqual([key], changed)

    def test_fibre_channel(self) -> None:
        data = {"initiator_target_map": {"10:00:00:AA": ["x"], "10:00:00:BB": ["x"]}}
        known = {"wwpns": ["100000aa"]}
        self.assertEqual([], self.changes(known, data=data))
        self.assertEqual(["wwpns"], self.changes({"wwpns": ["100000cc"]}, data=data))
        self.assertEqual([], self.changes({}, data=data))

    def test_nvme(self) -> None:
        data = {"host_nqn": "nqn.1"}
        self.assertEqual([], self.changes({"nqn": "nqn.1"}, data=data))
        self.assertEqual(["nqn"], self.changes({"nqn": "nqn.2"}, data=data))


class RbdTest(unittest.TestCase):
    """Ceph's modules are not there in every environment; ours stand for them."""

    DATA = {
        "name": f"volumes/volume-{ID}",
        "hosts": ["192.0.2.1", "192.0.2.2"],
        "ports": ["6789", "6789"],
        "auth_username": "cinder",
    }

    def setUp(self) -> None:
        self.rados, self.rbd = types.ModuleType("rados"), types.ModuleType("rbd")

        class Error(OSError):
            pass

        self.rados.Error = self.rbd.Error = Error
        self.rbd.ImageNotFound = type("ImageNotFound", (Error,), {})
        self.rados.Rados, self.rbd.Image = mock.MagicMock(), mock.MagicMock()
        self.rbd.Image.return_value.__enter__.return_value.size.return_value = 7
        modules = {"rados": self.rados, "rbd": self.rbd}
        patcher = mock.patch.dict(sys.modules, modules)
        self.addCleanup(patcher.stop)
        patcher.start()

    def size(self) -> int | None:
        return rbd.size_of(self.DATA, "volume x")

    def test_of_the_volumes_own_cluster_and_with_a_limit(self) -> None:
        self.assertEqual(7, self.size())
        given = self.rados.Rados.call_args.kwargs
        self.assertEqual("cinder", given["rados_id"])
        self.assertEqual("192.0.2.1:6789,192.0.2.2:6789", given["conf"]["mon_host"])
        self.assertEqual("5", given["conf"]["rados_osd_op_timeout"])
        pool = self.rados.Rados.return_value.__enter__.return_value.open_ioctx
        self.assertEqual(("volumes",), pool.call_args.args)

    def test_an_image_that_is_gone(self) -> None:
        self.rbd.Image.side_effect = self.rbd.ImageNotFound(errno.ENOENT, "x")
        with self.assertRaisesRegex(exception.Refused, "volume x is not there"):
            self.size()

    def test_monitors_that_do_not_answer(self) -> None:
        self.rados.Rados.side_effect = self.rados.Error(errno.ETIMEDOUT, "x")
        with self.assertRaisesRegex(exception.Refused, "Ceph does not answer"):
            self.size()

    def test_osds_that_do_not_answer(self) -> None:
        self.rbd.Image.side_effect = self.rbd.Error(errno.ETIMEDOUT, "x")
        with self.assertRaisesRegex(exception.Refused, "Ceph does not answer"):
            self.size()

    def test_a_key_that_this_host_has_only_in_libvirt(self) -> None:
        self.rados.Rados.side_effect = self.rados.Error(errno.EACCES, "x")
        self.assertIsNone(self.size())

    def test_no_modules(self) -> None:
        with mock.patch.dict(sys.modules, {"rados": None, "rbd": None}):
            self.assertIsNone(self.size())


class SmallerThanExpectedTest(unittest.TestCase):
    def test_an_rbd_image(self) -> None:
        found = volume.Volume(device(), disk())
        info = {"driver_volume_type": "rbd", "data": {}}
        with (
            mock.patch("stable_rescue.storage.rbd.size_of", return_value=7),
            self.assertRaisesRegex(exception.Refused, "has 7 bytes"),
        ):
            volume.check(mock.Mock(), found, info, None)

    def test_a_file_has_a_format_that_would_tell(self) -> None:
        found = volume.Volume(device(), disk(path=str(Path(__file__))))
        info = found.connection_info() | {"driver_volume_type": "nfs"}
        with mock.patch("stable_rescue.nova_internals.connector_of", return_value=None):
            volume.check(mock.Mock(), found, info, __file__)
            with self.assertRaisesRegex(exception.Refused, "is not there"):
                volume.check(mock.Mock(), found, info, f"{__file__}.gone")

    def test_a_file_that_is_for_qemus_user_alone(self) -> None:
        found = volume.Volume(device(), disk())
        with mock.patch("os.stat", side_effect=PermissionError(13, "denied")):
            volume.check(mock.Mock(), found, found.connection_info(), "/mnt/x")
