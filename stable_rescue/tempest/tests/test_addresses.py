# SPDX-License-Identifier: Apache-2.0
"""No device moves in a rescue: every device and bus, image-backed and volume-backed."""

from __future__ import annotations

from tempest.lib import decorators

from stable_rescue.tempest.findings import finds
from stable_rescue.tempest.tests.base import BaseRescueTest


class _AddressesTest(BaseRescueTest):
    """Compares what the guest sees before the rescue, in rescue and after unrescue."""

    def check_rescue(self, device: str, bus: str) -> None:
        """Fail if a device moves, or if a volume loses what the rescue system wrote."""
        self.require_case(device, bus)
        reader = self.require_reader()
        image = self.rescue_image(device, bus)
        server = self.active_server()
        before = reader.read(server)
        self.rescue(server, image)
        rescued = reader.read(server, previous_boot=before.boot_id)
        self.assert_rescued(before, rescued)
        markers = reader.write_markers(
            server, self.volume_disks(rescued), rescued.boot_id
        )
        self.assertNotIn("", markers.values(), "the rescue image writes no markers")
        self.unrescue(server)
        after = reader.read(server, previous_boot=rescued.boot_id)
        self.assert_restored(before, after)
        self.assertEqual(
            markers,
            reader.read_markers(server, self.volume_disks(after)),
            "volumes do not have the markers that the rescue system wrote",
        )


class ImageBackedTest(_AddressesTest):
    """The server's root disk is a copy of an image, on the compute host."""

    @decorators.idempotent_id("c176e4fa-69c4-4957-92b4-8d89ca142a38")
    @finds("U1", "U2")
    def test_disk_on_virtio_moves_no_device(self) -> None:
        self.check_rescue("disk", "virtio")

    @decorators.idempotent_id("1309601d-b564-449b-a531-7d34c0be46df")
    @finds("U1", "U2", "U32")
    def test_disk_on_scsi_moves_no_device(self) -> None:
        self.check_rescue("disk", "scsi")

    @decorators.idempotent_id("bb0a821f-c87f-4f31-874e-c40b29929f05")
    @finds("U1", "U2", "U33")
    def test_disk_on_usb_moves_no_device(self) -> None:
        self.check_rescue("disk", "usb")

    @decorators.idempotent_id("46f84434-8c6e-4975-a69f-4eaa3dcae6f3")
    @finds("U1", "U2")
    def test_disk_on_sata_moves_no_device(self) -> None:
        self.check_rescue("disk", "sata")

    @decorators.idempotent_id("4c17bb6a-ad74-4c47-bf95-99ad71c85c38")
    @finds("U1", "U2")
    def test_disk_on_ide_moves_no_device(self) -> None:
        self.check_rescue("disk", "ide")

    @decorators.idempotent_id("89de4ba8-a2a3-4354-b643-be8a46adfc14")
    @finds("U1", "U2")
    def test_cdrom_on_sata_moves_no_device(self) -> None:
        self.check_rescue("cdrom", "sata")

    @decorators.idempotent_id("698f3804-139e-469c-8e0c-71309bc5bb98")
    @finds("U1", "U2")
    def test_cdrom_on_ide_moves_no_device(self) -> None:
        self.check_rescue("cdrom", "ide")

    @decorators.idempotent_id("77de9195-1cdb-4eac-bc39-0f5aaefad3cb")
    @finds("U1", "U2")
    def test_cdrom_on_scsi_moves_no_device(self) -> None:
        self.check_rescue("cdrom", "scsi")

    @decorators.idempotent_id("19b49dd5-02a1-4d10-a6cc-14e5e62de742")
    @finds("U1", "U2")
    def test_cdrom_on_usb_moves_no_device(self) -> None:
        self.check_rescue("cdrom", "usb")

    @decorators.idempotent_id("a7a1cabf-6d62-4d5a-8e4c-71e49380ecf7")
    @finds("U1", "U2")
    def test_floppy_on_fdc_moves_no_device(self) -> None:
        self.check_rescue("floppy", "fdc")


class VolumeBackedTest(_AddressesTest):
    """The server's root disk is a volume."""

    volume_backed = True

    @decorators.idempotent_id("5db56a08-0b50-4c84-952c-eb4a4985a06a")
    @finds("U1", "U2")
    def test_disk_on_virtio_moves_no_device(self) -> None:
        self.check_rescue("disk", "virtio")

    @decorators.idempotent_id("d19baf4b-20fe-4d1f-b5af-faa1c28d6d48")
    @finds("U1", "U2", "U32")
    def test_disk_on_scsi_moves_no_device(self) -> None:
        self.check_rescue("disk", "scsi")

    @decorators.idempotent_id("ab20f4f2-875e-4f92-a81f-398d64b6bbef")
    @finds("U1", "U2", "U33")
    def test_disk_on_usb_moves_no_device(self) -> None:
        self.check_rescue("disk", "usb")

    @decorators.idempotent_id("28109b83-f5ee-455d-88af-c6c17376b198")
    @finds("U1", "U2")
    def test_disk_on_sata_moves_no_device(self) -> None:
        self.check_rescue("disk", "sata")

    @decorators.idempotent_id("a44de90d-ef61-429c-a4c5-54b999b27104")
    @finds("U1", "U2")
    def test_disk_on_ide_moves_no_device(self) -> None:
        self.check_rescue("disk", "ide")

    @decorators.idempotent_id("42ae470e-2242-442a-8c47-f048f1bb0e4b")
    @finds("U1", "U2")
    def test_cdrom_on_sata_moves_no_device(self) -> None:
        self.check_rescue("cdrom", "sata")

    @decorators.idempotent_id("07bdba73-1b58-41ec-aba7-08955656559a")
    @finds("U1", "U2")
    def test_cdrom_on_ide_moves_no_device(self) -> None:
        self.check_rescue("cdrom", "ide")

    @decorators.idempotent_id("32124d7f-8af7-4872-b532-f9d45dd0415d")
    @finds("U1", "U2")
    def test_cdrom_on_scsi_moves_no_device(self) -> None:
        self.check_rescue("cdrom", "scsi")

    @decorators.idempotent_id("2e80e8a9-eaab-47b1-88d6-441557e72786")
    @finds("U1", "U2")
    def test_cdrom_on_usb_moves_no_device(self) -> None:
        self.check_rescue("cdrom", "usb")

    @decorators.idempotent_id("91ce74ab-8d8f-40cf-92f3-36f536e8680a")
    @finds("U1", "U2")
    def test_floppy_on_fdc_moves_no_device(self) -> None:
        self.check_rescue("floppy", "fdc")
