# SPDX-License-Identifier: Apache-2.0
"""Faults where the host was started anew: no volume is connected any more.

Of the server's two volumes, the storage knows one for another address of the host, so
that its attachment has to be updated; the other is encrypted, and its secret is gone.
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

from tests.functional.faults.scenario import CellsOfAllFaults, FaultTestBase, Scenario
from tests.functional.volumes import VolumesTestBase
from tests.tally import Place

UNKNOWN, ENCRYPTED = VOLUMES = (uuids.host_is_unknown, uuids.encrypted)


class EncryptionFixture(fixtures.Fixture):
    """Lets Nova's libvirt have secrets of volumes, and definitions name them."""

    def _setUp(self) -> None:
        define = libvirt.Connection.defineXML
        define_secret = libvirt.Connection.secretDefineXML

        def define_encrypted(connection: Any, xml: str) -> Any:
            """Libvirt takes <encryption> in a disk or in its source; here, the last."""
            domain = etree.fromstring(xml)
            for disk in domain.iterfind("devices/disk[encryption]"):
                disk.find("source").append(disk.find("encryption"))
            return define(connection, etree.tostring(domain, encoding="unicode"))

        def define_with_uuid(connection: Any, xml: str) -> Any:
            """A secret that has no UUID gets one."""
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
    """A server with volumes in a storage, and a host that may be rebooted."""

    volumes = VOLUMES

    def setUp(self) -> None:
        self._encrypt()
        super().setUp()

    def make_server(self) -> None:
        super().make_server()
        # One after the other, for each run to reach the points in the same order.
        self.flags(volume_connect_workers=1, group="stable_rescue")
        self.patch_cinder("attachment_update", self._update)

    def _encrypt(self) -> None:
        """Have Cinder, the key manager and os-brick know of a volume with LUKS."""
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
        """Export the volume to the host as it is now."""
        self.storage.broken.clear()
        found = self.cinder._find_connection_info(UNKNOWN, attachment)
        return {"id": attachment, "connection_info": found}

    def reboot_host(self) -> None:
        self.domain().destroy()
        self.storage.reboot()
        self.storage.broken.add(UNKNOWN)
        self.lose_secrets()
        # Nova knows the devices of the boot before.
        for volume, info in self.stored.items():
            mapping = objects.BlockDeviceMapping.get_by_volume_and_instance(
                self.context, volume, self.server["id"]
            )
            mapping.connection_info = json.dumps(info)
            mapping.save()

    def lose_secrets(self) -> None:
        """As where libvirt's state is lost; a reboot alone does not lose them."""
        self.libvirt_connection()._secrets.clear()

    def secrets(self) -> set[str]:
        """Return the volumes whose secrets libvirt has."""
        found = self.libvirt_connection().listAllSecrets(0)
        return {secret.usageID() for secret in found}

    def written(self, definition: str) -> str:
        """The devices have other names since, and the secret is another."""
        named = re.sub(r"/boot\d+/", "/boot/", definition)
        return re.sub(r"(<secret [^>]*uuid=.)[-0-9a-f]+", r"\1", named)


class Volumes:
    """A server that has volumes, whatever is done to it."""

    def assert_original(self, running: bool = True) -> None:
        super().assert_original(running)
        self.assert_connected()

    def assert_rescue_runs(self) -> None:
        super().assert_rescue_runs()
        self.assert_all_connected()

    def assert_connected(self) -> None:
        """A stopped server's may be connected, as after Nova's own power-off."""
        if self.running:
            self.assert_all_connected()

    def assert_all_connected(self) -> None:
        self.assertEqual(sorted(VOLUMES), self.storage.connected())
        self.assertEqual({ENCRYPTED}, self.secrets())
        for volume, info in self.connections().items():
            path = str(self.storage.path(volume))
            self.assertEqual(path, info["data"]["device_path"])
            self.assertIn(path, self.definition(self.server))

    def test_faults(self) -> None:
        super().test_faults()
        self._delete_server(self.server)
        self.assertEqual([], self.storage.connected())
        self.assertEqual(set(), self.secrets())


class RescueTest(Volumes, CellsOfAllFaults, ServerWithVolumes, Scenario):
    action, running = "rescue", False
    situation = "host rebooted"
    own_steps = frozenset(
        {"update a volume's attachment", "save a volume's connection"}
    )
    other_steps = frozenset(
        {"connect a volume", "fetch the rescue disk", "start a domain"}
    )

    def get_ready(self) -> None:
        self.reboot_host()


class UndoTest(Volumes, CellsOfAllFaults, ServerWithVolumes, Scenario):
    action, running = "rescue", False
    situation = "host rebooted, undone"
    own_steps = frozenset({"disconnect a volume"})
    other_steps = frozenset()
    fails = ("after fetch the rescue disk", 1)

    def get_ready(self) -> None:
        self.reboot_host()

    def _places(self) -> list[Place]:
        found = super()._places()
        # Undone without a fault, that is.
        self.assertEqual([], self.storage.connected())
        self.assertEqual(set(), self.secrets())
        return found


class UnrescueTest(Volumes, CellsOfAllFaults, ServerWithVolumes, Scenario):
    """The rescue system was off when its host was rebooted."""

    action, running = "unrescue", True
    situation = "host rebooted"
    other_steps = frozenset({"connect a volume", "start a domain"})

    def get_ready(self) -> None:
        super().get_ready()
        self.reboot_host()


class SecretTest(Volumes, CellsOfAllFaults, ServerWithVolumes, Scenario):
    """The guest runs on without what libvirt has forgotten; its rescue cannot start."""

    action, running = "rescue", True
    situation = "secret lost"
    own_steps = frozenset({"make a volume's secret"})
    other_steps = frozenset({"start a domain"})

    def get_ready(self) -> None:
        self.lose_secrets()

    def assert_connected(self) -> None:
        """A rescue that does not come about may leave the secret lost."""
        self.assertEqual(sorted(VOLUMES), self.storage.connected())
        self.assertLessEqual(self.secrets(), {ENCRYPTED})
