# SPDX-License-Identifier: Apache-2.0
"""Faults after the host was rebooted: none of the server's volumes is connected.

The server has two volumes. The storage knows the host of one by another address, so
its attachment must be updated. The other one is encrypted, and its secret is lost.
"""

import json
import re
from typing import Any

import fixtures
from lxml import etree
from nova import objects
from nova.tests import fixtures as nova_fixtures
from nova.tests.fixtures import libvirt
from oslo_utils import uuidutils
from oslo_utils.fixture import uuidsentinel as uuids

from tests.faults.engine import EveryFault
from tests.faults.places import Place
from tests.functional.faults.base import FaultTestBase, RowTestBase
from tests.functional.volumes import VolumesTestBase

UNKNOWN, ENCRYPTED = VOLUMES = (uuids.host_is_unknown, uuids.encrypted)


class EncryptionFixture(fixtures.Fixture):
    """Makes Nova's libvirt fixture handle encrypted disks and their secrets."""

    def _setUp(self) -> None:
        define = libvirt.Connection.defineXML
        define_secret = libvirt.Connection.secretDefineXML

        def define_encrypted(connection: Any, xml: str) -> Any:
            """Move <encryption> into <source>: libvirt takes both, the fixture one."""
            domain = etree.fromstring(xml)
            for disk in domain.iterfind("devices/disk[encryption]"):
                disk.find("source").append(disk.find("encryption"))
            return define(connection, etree.tostring(domain, encoding="unicode"))

        def define_with_uuid(connection: Any, xml: str) -> Any:
            """Give a UUID to a secret that has none."""
            secret = etree.fromstring(xml)
            if secret.find("uuid") is None:
                etree.SubElement(secret, "uuid").text = uuidutils.generate_uuid()
            return define_secret(connection, etree.tostring(secret, encoding="unicode"))

        for name, function in (
            ("defineXML", define_encrypted),
            ("secretDefineXML", define_with_uuid),
        ):
            self.useFixture(
                fixtures.MonkeyPatch(
                    f"nova.tests.fixtures.libvirt.Connection.{name}", function
                )
            )


class ServerWithVolumes(FaultTestBase, VolumesTestBase):
    """A server with volumes, and a host that can be rebooted."""

    volumes = VOLUMES

    def setUp(self) -> None:
        self._encrypt()
        super().setUp()

    def make_server(self) -> None:
        super().make_server()
        # One at a time, so that each attempt reaches the places in the same order.
        self.flags(volume_connect_workers=1, group="stable_rescue")
        self.patch_cinder("attachment_update", self._update)

    def _encrypt(self) -> None:
        """Make Cinder, the key manager and os-brick treat a volume as LUKS."""
        self.flags(fixed_key="0" * 64, group="key_manager")
        infos = nova_fixtures.CinderFixture.VOLUME_CONNECTION_INFO
        info = {**infos["fake"], "data": {**infos["fake"]["data"], "encrypted": True}}
        self.useFixture(
            fixtures.MonkeyPatch(
                "nova.tests.fixtures.CinderFixture.VOLUME_CONNECTION_INFO",
                {**infos, ENCRYPTED: info},
            )
        )
        self.useFixture(
            fixtures.MockPatch(
                "nova.volume.cinder.API.get_volume_encryption_metadata",
                return_value={
                    "provider": "luks",
                    "control_location": "front-end",
                    "encryption_key_id": "00000000-0000-0000-0000-000000000000",
                },
            )
        )
        self.useFixture(
            fixtures.MockPatch("os_brick.encryptors.luks.is_luks", return_value=True)
        )
        self.useFixture(EncryptionFixture())

    def _update(self, _context: Any, attachment: str, *_args: Any) -> dict[str, Any]:
        """Export the volume to the present address of the host."""
        self.storage.broken.clear()
        connection = self.cinder._find_connection_info(UNKNOWN, attachment)
        return {"id": attachment, "connection_info": connection}

    def reboot_host(self) -> None:
        """Stop the guest and disconnect its volumes, without Nova."""
        self.domain().destroy()
        self.storage.reboot()
        self.storage.broken.add(UNKNOWN)
        self.lose_secrets()
        # Nova's database has the devices of the previous boot.
        for volume, info in self.stored.items():
            mapping = objects.BlockDeviceMapping.get_by_volume_and_instance(
                self.context, volume, self.server["id"]
            )
            mapping.connection_info = json.dumps(info)
            mapping.save()

    def lose_secrets(self) -> None:
        """Remove the secrets, as if libvirt's state were lost with a reboot."""
        self.libvirt_connection()._secrets.clear()

    def secrets(self) -> set[str]:
        """Return the volumes whose secrets libvirt has."""
        secrets = self.libvirt_connection().listAllSecrets(0)
        return {secret.usageID() for secret in secrets}

    def comparable(self, definition: str) -> str:
        """Leave out what a reboot changes: the devices' names and the secret's UUID."""
        named = re.sub(r"/boot\d+/", "/boot/", definition)
        return re.sub(r"(<secret [^>]*uuid=.)[-0-9a-f]+", r"\1", named)


class Connected:
    """A recovered server has its volumes connected."""

    def assert_original(self, running: bool = True) -> None:
        super().assert_original(running)
        self.assert_connected()

    def assert_rescue_runs(self) -> None:
        super().assert_rescue_runs()
        self.assert_all_connected()

    def assert_connected(self) -> None:
        """Assert that a running server has its volumes; a stopped one needs none."""
        if self.running:
            self.assert_all_connected()

    def assert_all_connected(self) -> None:
        self.assertEqual(sorted(VOLUMES), self.storage.connected())
        self.assertEqual({ENCRYPTED}, self.secrets())
        for volume, info in self.connections().items():
            path = str(self.storage.path(volume))
            self.assertEqual(path, info["data"]["device_path"])
            self.assertIn(path, self.definition(self.server))

    def test_server_after_each_fault_is_recovered(self) -> None:
        super().test_server_after_each_fault_is_recovered()
        self._delete_server(self.server)
        self.assertEqual([], self.storage.connected())
        self.assertEqual(set(), self.secrets())


class RescueTest(Connected, EveryFault, ServerWithVolumes, RowTestBase):
    action, running = "rescue", False
    situation = "host rebooted"
    unique_steps = frozenset(
        {"update a volume's attachment", "save a volume's connection"}
    )
    other_steps = frozenset(
        {"connect a volume", "fetch the rescue disk", "start a domain"}
    )

    def get_ready(self) -> None:
        self.reboot_host()


class RollbackTest(Connected, EveryFault, ServerWithVolumes, RowTestBase):
    action, running = "rescue", False
    situation = "host rebooted, rolled back"
    unique_steps = frozenset({"disconnect a volume"})
    other_steps = frozenset()
    fails_at = ("after fetch the rescue disk", 1)

    def get_ready(self) -> None:
        self.reboot_host()

    def places(self) -> list[Place]:
        places = super().places()
        # The rollback without a fault has disconnected everything.
        self.assertEqual([], self.storage.connected())
        self.assertEqual(set(), self.secrets())
        return places


class UnrescueTest(Connected, EveryFault, ServerWithVolumes, RowTestBase):
    """The host was rebooted while the server was rescued."""

    action, running = "unrescue", True
    situation = "host rebooted"
    other_steps = frozenset({"connect a volume", "start a domain"})

    def get_ready(self) -> None:
        super().get_ready()
        self.reboot_host()


class SecretTest(Connected, EveryFault, ServerWithVolumes, RowTestBase):
    """libvirt has lost the secret. The guest runs on, but a rescue needs the secret."""

    action, running = "rescue", True
    situation = "secret lost"
    unique_steps = frozenset({"make a volume's secret"})
    other_steps = frozenset({"start a domain"})

    def get_ready(self) -> None:
        self.lose_secrets()

    def assert_connected(self) -> None:
        """Allow that the secret stays lost after a rescue that failed."""
        self.assertEqual(sorted(VOLUMES), self.storage.connected())
        self.assertLessEqual(self.secrets(), {ENCRYPTED})
