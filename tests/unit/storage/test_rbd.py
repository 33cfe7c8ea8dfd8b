# SPDX-License-Identifier: Apache-2.0
"""The size of an image in Ceph, and the refusals for Ceph's errors."""

import errno
import sys
import types
import unittest
from unittest import mock

from stable_rescue import conf, exception
from stable_rescue.storage import rbd

conf.register_opts(rbd.CONF)

IMAGE = "volume-10000000-0000-4000-8000-000000000000"


class RbdTest(unittest.TestCase):
    """Ceph's Python modules are replaced: not every environment has them."""

    DATA = {
        "name": f"volumes/{IMAGE}",
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

    def test_size_is_read_from_the_volumes_cluster(self) -> None:
        self.assertEqual(7, self.size())
        passed = self.rados.Rados.call_args.kwargs
        self.assertEqual("cinder", passed["rados_id"])
        self.assertEqual("192.0.2.1:6789,192.0.2.2:6789", passed["conf"]["mon_host"])
        self.assertEqual("5", passed["conf"]["rados_osd_op_timeout"])
        pool = self.rados.Rados.return_value.__enter__.return_value.open_ioctx
        self.assertEqual(("volumes",), pool.call_args.args)

    def test_missing_image_is_refused(self) -> None:
        self.rbd.Image.side_effect = self.rbd.ImageNotFound(errno.ENOENT, "x")
        with self.assertRaisesRegex(exception.Refused, "volume x is missing"):
            self.size()

    def test_timeout_of_monitors_is_refused(self) -> None:
        self.rados.Rados.side_effect = self.rados.Error(errno.ETIMEDOUT, "x")
        with self.assertRaisesRegex(exception.Refused, "Ceph does not answer"):
            self.size()

    def test_timeout_of_osds_is_refused(self) -> None:
        self.rbd.Image.side_effect = self.rbd.Error(errno.ETIMEDOUT, "x")
        with self.assertRaisesRegex(exception.Refused, "Ceph does not answer"):
            self.size()

    def test_host_without_a_keyring_has_no_size(self) -> None:
        self.rados.Rados.side_effect = self.rados.Error(errno.EACCES, "x")
        self.assertIsNone(self.size())

    def test_host_without_ceph_modules_has_no_size(self) -> None:
        with mock.patch.dict(sys.modules, {"rados": None, "rbd": None}):
            self.assertIsNone(self.size())
