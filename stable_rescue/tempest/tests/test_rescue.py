# SPDX-License-Identifier: Apache-2.0
"""Passwords, images, server states and microversions of a rescue."""

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
    """Tests on a server whose root disk is a copy of an image."""

    with_hotplug = False

    @decorators.idempotent_id("9bda7665-a59a-42a4-945b-9e8866159694")
    @finds("U3")
    def test_rescue_password_is_in_config_drive(self) -> None:
        """The config drive has the adminPass that the API returned."""
        reader = self.require_reader()
        image = self.rescue_image(*self.first_case("disk"))
        server = self.active_server()
        before = reader.read(server)
        password = data_utils.rand_password()
        self.assertEqual(password, self.rescue(server, image, adminPass=password))
        rescued = reader.read(server, previous_boot=before.boot_id)
        has_password = reader.has_password(server, rescued, password)
        self.unrescue(server)
        self.assertTrue(has_password, "the config drive does not have the adminPass")
        after = reader.read(server, previous_boot=rescued.boot_id)
        self.assert_restored(before, after)

    @decorators.idempotent_id("30d9a75c-5b7a-48fd-8312-78c633bd5a82")
    @finds("U1")
    def test_second_rescue_boots_second_image(self) -> None:
        """A rescue with a CD-ROM after one with a disk boots the CD-ROM."""
        reader = self.require_reader()
        disk_image = self.rescue_image(*self.first_case("disk"))
        cdrom_image = self.rescue_image(*self.first_case("cdrom"))
        server = self.active_server()
        guest = before = reader.read(server)
        for image, is_cdrom in ((disk_image, False), (cdrom_image, True)):
            self.rescue(server, image)
            guest = reader.read(server, previous_boot=guest.boot_id)
            self.assert_rescued(before, guest)
            assert guest.boot_disk is not None
            self.assertEqual(is_cdrom, guest.boot_disk.is_cdrom)
            self.unrescue(server)
            guest = reader.read(server, previous_boot=guest.boot_id)
        self.assert_restored(before, guest)

    @decorators.idempotent_id("ba0543c7-4118-4ae9-943b-9c4cfff72839")
    @finds("U18")
    def test_stopped_server_is_stopped_after_unrescue(self) -> None:
        """A stopped server can be rescued, and unrescue does not start it."""
        image = self.rescue_image(*self.first_case("disk"))
        server = self.active_server()
        before = self.reader.read(server) if self.reader else None
        self.servers_client.stop_server(server)
        waiters.wait_for_server_status(self.servers_client, server, "SHUTOFF")
        self.rescue(server, image)
        if self.reader and before:
            self.reader.read(server, previous_boot=before.boot_id)
        self.unrescue(server, status="SHUTOFF")
        self.servers_client.start_server(server)
        waiters.wait_for_server_status(self.servers_client, server, "ACTIVE")

    @decorators.idempotent_id("41c24c25-5a6b-414b-953a-3009e34d82dd")
    def test_unrescue_of_active_server_is_conflict(self) -> None:
        """The API rejects a second unrescue: 409."""
        image = self.rescue_image(*self.first_case("disk"))
        server = self.active_server()
        self.rescue(server, image)
        self.unrescue(server)
        self.assertRaises(
            exceptions.Conflict, self.servers_client.unrescue_server, server
        )
        self.assertEqual("ACTIVE", self.status(server))

    @decorators.idempotent_id("0288cdb3-003a-4878-9756-33988d5c809a")
    def test_rescue_of_rescued_server_is_conflict(self) -> None:
        """The API rejects a rescue of a server in RESCUE: 409. Unrescue still works."""
        image = self.rescue_image(*self.first_case("disk"))
        server = self.active_server()
        self.rescue(server, image)
        self.assertRaises(
            exceptions.Conflict,
            self.servers_client.rescue_server,
            server,
            rescue_image_ref=image,
        )
        self.unrescue(server)

    @decorators.idempotent_id("b2fe20ff-6b5e-495d-9d25-281bb911bb6a")
    def test_image_without_properties_gives_stock_rescue(self) -> None:
        """In a stock rescue the image is the first disk and the root disk the second.

        The guest sees no other disk.
        """
        if not CONF.stable_rescue.legacy:
            raise self.skipException("[stable_rescue] legacy is not set")
        reader = self.require_reader()
        image = self.upload_image("disk_image")
        server = self.active_server()
        before = reader.read(server)
        self.rescue(server, image)
        rescued = reader.read(server, previous_boot=before.boot_id)
        self.unrescue(server)
        disks = [disk for disk in rescued.disks if not disk.is_cdrom]
        self.assertEqual(2, len(disks), disks)
        self.assertEqual(disks[0], rescued.boot_disk)
        after = reader.read(server, previous_boot=rescued.boot_id)
        self.assert_restored(before, after)


class VolumeBackedTest(BaseRescueTest):
    """Tests on a server whose root disk is a volume."""

    volume_backed = True
    with_hotplug = False

    @decorators.idempotent_id("f34e275c-d524-4d4c-ab5b-343a23663b96")
    def test_rescue_below_microversion_2_87_is_bad_request(self) -> None:
        """The API rejects the rescue, and the guest keeps running."""
        image = self.rescue_image(*self.first_case())
        server = self.active_server()
        boot_id = self.boot_id(server)
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
        self.assertEqual(boot_id, self.boot_id(server), "the guest was restarted")
