# SPDX-License-Identifier: Apache-2.0
"""What the storage backends and Open vSwitch write, before anything runs."""

from __future__ import annotations

import configparser
import stat
import subprocess
import tempfile
import unittest
import uuid
from pathlib import Path

from lab.config import Lab
from lab.services import ceph, libvirtd, ovs, storpool


class ConfigurationTestCase(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.lab = Lab(Path(folder.name))

    def parsed(self, service: str, name: str) -> configparser.ConfigParser:
        path = self.lab.etc(service) / name
        self.assertEqual(0o600, stat.S_IMODE(path.stat().st_mode))
        text = path.read_text()
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_string(f"[top]\n{text}")  # as os-brick reads storpool.conf
        return parser


class TestCeph(ConfigurationTestCase):
    def test_everything_is_on_loopback_and_in_the_labs_folder(self) -> None:
        service = ceph.Ceph(self.lab)
        service.configure()
        conf = self.parsed("ceph", "ceph.conf")
        for option in ("public_addr", "cluster_addr"):
            self.assertEqual("127.0.0.1", conf["global"][option])
        for daemon in ("mon", "mgr", "osd"):
            section = next(s for s in conf.sections() if s.startswith(f"{daemon}."))
            data = Path(conf[section][f"{daemon}_data"])
            self.assertTrue(data.is_relative_to(self.lab.state))

    def test_cinder_and_nova_name_one_secret_and_one_user(self) -> None:
        service = ceph.Ceph(self.lab)
        section = service.cinder_backend_section()
        options = service.nova_libvirt_options()
        for name in ("rbd_user", "rbd_secret_uuid"):
            self.assertEqual(section[name], options[name])
        self.assertEqual(
            section["rbd_secret_uuid"], ceph.Ceph(self.lab).secret_uuid, "not stable"
        )
        uuid.UUID(section["rbd_secret_uuid"])
        self.assertIn(section["rbd_pool"], ceph.POOLS)

    def test_the_user_may_use_the_pools_and_nothing_else(self) -> None:
        _entity, capabilities = ceph.KEYS[ceph.USER_KEYRING]
        self.assertNotIn("allow", " ".join(capabilities.values()))
        for pool in ceph.POOLS:
            self.assertIn(f"pool={pool}", capabilities["osd"])

    def test_nova_is_told_of_a_pool_that_there_is(self) -> None:
        options = ceph.Ceph(self.lab).nova_libvirt_options()
        self.assertIn(options["images_rbd_pool"], ceph.POOLS)


class TestLibvirtHook(ConfigurationTestCase):
    """The script is run as libvirtd runs it."""

    def refuses(self, definition: str, step: str = "prepare") -> bool:
        file = libvirtd.refused_starts(self.lab)
        hook = libvirtd.HOOK.format(file=file)
        ran = subprocess.run(
            ["sh", "-c", hook, "qemu", "instance-1", step, "begin", "-"],
            input=definition,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(bool(ran.returncode), bool(ran.stderr), ran)
        return bool(ran.returncode)

    def test_what_the_file_says_does_not_start(self) -> None:
        libvirtd.refused_starts(self.lab).write_text("disk.rescue\n")
        self.assertTrue(self.refuses("<disk>\n<source file='/x/disk.rescue'/></disk>"))
        self.assertFalse(self.refuses("<disk><source file='/x/disk'/></disk>"))
        self.assertFalse(self.refuses("disk.rescue", step="stopped"))

    def test_without_the_file_all_start(self) -> None:
        self.assertFalse(self.refuses("disk.rescue"))
        libvirtd.refused_starts(self.lab).touch()
        self.assertFalse(self.refuses("disk.rescue"))


class TestStorPool(ConfigurationTestCase):
    def test_os_brick_finds_what_the_daemon_is_given(self) -> None:
        service = storpool.StorPool(self.lab)
        service.configure()
        conf = self.parsed("storpool", "storpool.conf")["top"]
        token = (self.lab.etc("storpool") / "token").read_text().strip()
        self.assertEqual(token, conf["SP_AUTH_TOKEN"])
        self.assertEqual("127.0.0.1", conf["SP_API_HTTP_HOST"])
        self.assertTrue(conf["SP_OURID"].isdigit())


class TestOpenVSwitch(ConfigurationTestCase):
    def test_the_agent_uses_the_bridge_that_the_switch_makes(self) -> None:
        ovs.OvsAgent(self.lab).configure()
        conf = self.parsed("neutron", ovs.AGENT_CONF)
        self.assertEqual(ovs.BRIDGE, conf["ovs"]["integration_bridge"])
        self.assertEqual("netdev", conf["ovs"]["datapath_type"])
        self.assertEqual("127.0.0.1", conf["ovs"]["of_listen_address"])
