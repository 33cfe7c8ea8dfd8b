# SPDX-License-Identifier: Apache-2.0
"""A rescue moves no device: each bus and device, images and volumes as the root."""

from __future__ import annotations

from tempest.lib import decorators

from stable_rescue.tempest.findings import finds
from stable_rescue.tempest.tests.base import BaseRescueTest


class _Addresses(BaseRescueTest):
    """The guest tells its devices before, in rescue and after."""

    def check(self, device: str, bus: str) -> None:
        """Rescue and unrescue; nothing moves, and what was written stays written."""
        self.need_case(device, bus)
        reader = self.need_reader()
        image = self.image_for(device, bus)
        server = self.server()
        before = reader.read(server)
        self.rescue(server, image)
        rescued = reader.read(server, not_boot=before.boot_id)
        self.check_rescued(before, rescued)
        written = reader.mark(server, self.volumes(rescued), rescued.boot_id)
        self.assertNotIn("", written.values(), "the rescue image marks no disks")
        self.unrescue(server)
        after = reader.read(server, not_boot=rescued.boot_id)
        self.check_same(before, after)
        self.assertEqual(written, reader.marks(server, self.volumes(after)))


class ImageBackedTest(_Addresses):
    """The server's root is made of an image, on the compute host."""

    @decorators.idempotent_id("c176e4fa-69c4-4957-92b4-8d89ca142a38")
    @finds("U1", "U2")
    def test_disk_virtio(self) -> None:
        """Rescue by a disk on virtio."""
        self.check("disk", "virtio")

    @decorators.idempotent_id("1309601d-b564-449b-a531-7d34c0be46df")
    @finds("U1", "U2", "U32")
    def test_disk_scsi(self) -> None:
        """Rescue by a disk on scsi."""
        self.check("disk", "scsi")

    @decorators.idempotent_id("bb0a821f-c87f-4f31-874e-c40b29929f05")
    @finds("U1", "U2", "U33")
    def test_disk_usb(self) -> None:
        """Rescue by a disk on usb."""
        self.check("disk", "usb")

    @decorators.idempotent_id("46f84434-8c6e-4975-a69f-4eaa3dcae6f3")
    @finds("U1", "U2")
    def test_disk_sata(self) -> None:
        """Rescue by a disk on sata."""
        self.check("disk", "sata")

    @decorators.idempotent_id("4c17bb6a-ad74-4c47-bf95-99ad71c85c38")
    @finds("U1", "U2")
    def test_disk_ide(self) -> None:
        """Rescue by a disk on ide."""
        self.check("disk", "ide")

    @decorators.idempotent_id("89de4ba8-a2a3-4354-b643-be8a46adfc14")
    @finds("U1", "U2")
    def test_cdrom_sata(self) -> None:
        """Rescue by a cdrom on sata."""
        self.check("cdrom", "sata")

    @decorators.idempotent_id("698f3804-139e-469c-8e0c-71309bc5bb98")
    @finds("U1", "U2")
    def test_cdrom_ide(self) -> None:
        """Rescue by a cdrom on ide."""
        self.check("cdrom", "ide")

    @decorators.idempotent_id("77de9195-1cdb-4eac-bc39-0f5aaefad3cb")
    @finds("U1", "U2")
    def test_cdrom_scsi(self) -> None:
        """Rescue by a cdrom on scsi."""
        self.check("cdrom", "scsi")

    @decorators.idempotent_id("19b49dd5-02a1-4d10-a6cc-14e5e62de742")
    @finds("U1", "U2")
    def test_cdrom_usb(self) -> None:
        """Rescue by a cdrom on usb."""
        self.check("cdrom", "usb")

    @decorators.idempotent_id("a7a1cabf-6d62-4d5a-8e4c-71e49380ecf7")
    @finds("U1", "U2")
    def test_floppy_fdc(self) -> None:
        """Rescue by a floppy on fdc."""
        self.check("floppy", "fdc")


class VolumeBackedTest(_Addresses):
    """The server's root is a volume."""

    volume_backed = True

    @decorators.idempotent_id("5db56a08-0b50-4c84-952c-eb4a4985a06a")
    @finds("U1", "U2")
    def test_disk_virtio(self) -> None:
        """Rescue by a disk on virtio."""
        self.check("disk", "virtio")

    @decorators.idempotent_id("d19baf4b-20fe-4d1f-b5af-faa1c28d6d48")
    @finds("U1", "U2", "U32")
    def test_disk_scsi(self) -> None:
        """Rescue by a disk on scsi."""
        self.check("disk", "scsi")

    @decorators.idempotent_id("ab20f4f2-875e-4f92-a81f-398d64b6bbef")
    @finds("U1", "U2", "U33")
    def test_disk_usb(self) -> None:
        """Rescue by a disk on usb."""
        self.check("disk", "usb")

    @decorators.idempotent_id("28109b83-f5ee-455d-88af-c6c17376b198")
    @finds("U1", "U2")
    def test_disk_sata(self) -> None:
        """Rescue by a disk on sata."""
        self.check("disk", "sata")

    @decorators.idempotent_id("a44de90d-ef61-429c-a4c5-54b999b27104")
    @finds("U1", "U2")
    def test_disk_ide(self) -> None:
        """Rescue by a disk on ide."""
        self.check("disk", "ide")

    @decorators.idempotent_id("42ae470e-2242-442a-8c47-f048f1bb0e4b")
    @finds("U1", "U2")
    def test_cdrom_sata(self) -> None:
        """Rescue by a cdrom on sata."""
        self.check("cdrom", "sata")

    @decorators.idempotent_id("07bdba73-1b58-41ec-aba7-08955656559a")
    @finds("U1", "U2")
    def test_cdrom_ide(self) -> None:
        """Rescue by a cdrom on ide."""
        self.check("cdrom", "ide")

    @decorators.idempotent_id("32124d7f-8af7-4872-b532-f9d45dd0415d")
    @finds("U1", "U2")
    def test_cdrom_scsi(self) -> None:
        """Rescue by a cdrom on scsi."""
        self.check("cdrom", "scsi")

    @decorators.idempotent_id("2e80e8a9-eaab-47b1-88d6-441557e72786")
    @finds("U1", "U2")
    def test_cdrom_usb(self) -> None:
        """Rescue by a cdrom on usb."""
        self.check("cdrom", "usb")

    @decorators.idempotent_id("91ce74ab-8d8f-40cf-92f3-36f536e8680a")
    @finds("U1", "U2")
    def test_floppy_fdc(self) -> None:
        """Rescue by a floppy on fdc."""
        self.check("floppy", "fdc")
