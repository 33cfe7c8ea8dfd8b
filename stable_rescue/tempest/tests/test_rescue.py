# SPDX-License-Identifier: Apache-2.0
"""What stands around a rescue: states, passwords, images, microversions."""

from __future__ import annotations

from tempest import config
from tempest.common import waiters
from tempest.lib import decorators, exceptions
from tempest.lib.common import api_microversion_fixture
from tempest.lib.common.utils import data_utils

from stable_rescue.tempest.findings import finds
from stable_rescue.tempest.tests.base import BaseRescueTest

CONF = config.CONF


class RescueTest(BaseRescueTest):
    """On a server whose root is made of an image."""

    with_history = False

    def first_case(self, device: str) -> str:
        """Return an image for the first case that is to be tried with a device."""
        for case in CONF.stable_rescue.cases:
            if case.startswith(f"{device}/"):
                return self.image_for(device, case.partition("/")[2])
        raise self.skipException(f"[stable_rescue] cases has none with {device}")

    @decorators.idempotent_id("9bda7665-a59a-42a4-945b-9e8866159694")
    @finds("U3")
    def test_password_of_the_answer_is_in_the_config_drive(self) -> None:
        """The password that the API returns is the one that the guest is given."""
        reader = self.need_reader()
        image = self.first_case("disk")
        server = self.server()
        before = reader.read(server)
        password = data_utils.rand_password()
        self.assertEqual(password, self.rescue(server, image, adminPass=password))
        rescued = reader.read(server, not_boot=before.boot_id)
        found = reader.has_password(server, rescued, password)
        self.unrescue(server)
        self.assertTrue(found, "the config drive has another password, or none")
        self.check_same(before, reader.read(server, not_boot=rescued.boot_id))

    @decorators.idempotent_id("30d9a75c-5b7a-48fd-8312-78c633bd5a82")
    @finds("U1")
    def test_two_rescues_with_different_images(self) -> None:
        """The second rescue boots the second image."""
        reader = self.need_reader()
        first = self.first_case("disk")
        second = self.first_case("cdrom")
        server = self.server()
        boot = before = reader.read(server)
        for image, device in ((first, "disk"), (second, "cdrom")):
            self.rescue(server, image)
            boot = reader.read(server, not_boot=boot.boot_id)
            self.check_rescued(before, boot)
            assert boot.boot_disk is not None
            self.assertEqual(device == "cdrom", boot.boot_disk.is_cdrom)
            self.unrescue(server)
            boot = reader.read(server, not_boot=boot.boot_id)
        self.check_same(before, boot)

    @decorators.idempotent_id("ba0543c7-4118-4ae9-943b-9c4cfff72839")
    @finds("U18")
    def test_stopped_server_comes_back_stopped(self) -> None:
        """A server that was stopped is rescued, and stopped again afterwards."""
        image = self.first_case("disk")
        server = self.server()
        before = self.reader.read(server) if self.reader else None
        self.servers_client.stop_server(server)
        waiters.wait_for_server_status(self.servers_client, server, "SHUTOFF")
        self.rescue(server, image)
        if self.reader and before:
            self.reader.read(server, not_boot=before.boot_id)
        self.unrescue(server, status="SHUTOFF")
        self.servers_client.start_server(server)
        waiters.wait_for_server_status(self.servers_client, server, "ACTIVE")

    @decorators.idempotent_id("41c24c25-5a6b-414b-953a-3009e34d82dd")
    def test_unrescue_twice(self) -> None:
        """A server that is not in rescue any more cannot be unrescued: 409."""
        image = self.first_case("disk")
        server = self.server()
        self.rescue(server, image)
        self.unrescue(server)
        self.assertRaises(
            exceptions.Conflict, self.servers_client.unrescue_server, server
        )
        self.assertEqual("ACTIVE", self.status(server))

    @decorators.idempotent_id("0288cdb3-003a-4878-9756-33988d5c809a")
    def test_rescue_twice(self) -> None:
        """A server in rescue cannot be rescued: 409; it can be unrescued."""
        image = self.first_case("disk")
        server = self.server()
        self.rescue(server, image)
        self.assertRaises(
            exceptions.Conflict,
            self.servers_client.rescue_server,
            server,
            rescue_image_ref=image,
        )
        self.unrescue(server)

    @decorators.idempotent_id("b2fe20ff-6b5e-495d-9d25-281bb911bb6a")
    def test_legacy_rescue(self) -> None:
        """An image that says nothing is rescued with as by Nova: it is the first disk.

        The server's own root is the second, and no other disk is there.
        """
        if not CONF.stable_rescue.legacy:
            raise self.skipException("[stable_rescue] legacy is not set")
        reader = self.need_reader()
        image = self.rescue_image()
        server = self.server()
        before = reader.read(server)
        self.rescue(server, image)
        rescued = reader.read(server, not_boot=before.boot_id)
        self.unrescue(server)
        disks = [disk for disk in rescued.disks if not disk.is_cdrom]
        self.assertEqual(2, len(disks), disks)
        self.assertEqual(disks[0], rescued.boot_disk)
        self.check_same(before, reader.read(server, not_boot=rescued.boot_id))


class VolumeBackedTest(BaseRescueTest):
    """On a server whose root is a volume."""

    volume_backed = True
    with_history = False

    @decorators.idempotent_id("f34e275c-d524-4d4c-ab5b-343a23663b96")
    def test_microversion_below_2_87(self) -> None:
        """Below 2.87 the API refuses to rescue it, and leaves it alone."""
        device, _, bus = CONF.stable_rescue.cases[0].partition("/")
        image = self.image_for(device, bus)
        server = self.server()
        before = self.boot_id(server)
        with api_microversion_fixture.APIMicroversionFixture(
            compute_microversion="2.86"
        ):
            self.assertRaises(
                exceptions.BadRequest,
                self.servers_client.rescue_server,
                server,
                rescue_image_ref=image,
            )
        self.assertEqual("ACTIVE", self.status(server))
        self.assertEqual(before, self.boot_id(server))
