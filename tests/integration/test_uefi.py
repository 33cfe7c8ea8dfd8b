# SPDX-License-Identifier: Apache-2.0
"""UEFI servers keep the boot entry of an installed guest (UPSTREAM U31)."""

import hashlib
import time
from typing import ClassVar

from lxml import etree

from stable_rescue import plan
from stable_rescue.domain.medium import Medium
from stable_rescue.tempest.guest import Inventory, compare
from tests.integration import base, variables
from tests.integration.scene import MIB, overlay

_SHELL = "UEFI Interactive Shell"


class InstalledGuest:
    """What the classes share: a server whose NVRAM has an entry for its root disk.

    Volumes were plugged and unplugged while it was off: addresses are as uneven as
    a running guest's history leaves them.
    """

    machine: ClassVar[str] = "q35"
    options: ClassVar[dict[str, object]] = {"firmware": "uefi"}
    server: ClassVar[base.Server]
    own: ClassVar[str]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        server = base.new_server(cls.addClassCleanup, cls.machine, **cls.options)
        variables.seed(server.scene.nvram, base.images().original_raw)
        server.detach(server.scene.volume_xml(1, "vdd"))
        for number, target in ((4, "vdd"), (5, "vdf")):
            server.attach(server.scene.volume_xml(number, target))
        server.attach(server.scene.nic_xml(2))
        cls.server, cls.own = server, server.definition()

    def derive(self, medium: Medium, device: str, bus: str) -> str:
        """Return the rescue definition; what it leaves ends with the test."""
        copy = self.server.scene.nvram.with_suffix(".fd.rescue")
        copy.unlink(missing_ok=True)  # of an earlier rescue: each has its own
        self.addCleanup(copy.unlink, missing_ok=True)
        self.addCleanup(self.server.define, self.own)
        self.addCleanup(self.server.stop)
        request = plan.RescueRequest(device, bus)
        return plan.derive(self.own, request, medium).after

    def rescue_medium(self, device: str = "disk") -> Medium:
        """Return a bootable rescue medium."""
        if device == "cdrom":
            return Medium.from_file(str(base.images().rescue_iso))
        folder = base.new_folder(self.addCleanup)
        disk = overlay(base.images().rescue_qcow2, folder / "disk.rescue")
        return Medium.from_file(str(disk), "qcow2")

    def checksum(self) -> str:
        """Return the sha256 of the server's NVRAM file."""
        return hashlib.sha256(self.server.scene.nvram.read_bytes()).hexdigest()

    def assert_rescued(self, seen: Inventory, device: str) -> None:
        """The firmware and the kernel say that the rescue disk was booted."""
        self.assertEqual(("uefi", "rescue"), (seen.firmware, seen.image))
        self.assertIsNotNone(seen.boot_disk)
        self.assertEqual(f"rescue {base.images().build}", seen.boot_disk.label)
        self.assertEqual(device == "cdrom", seen.boot_disk.is_cdrom)

    def assert_original(self, seen: Inventory) -> None:
        """It is the original, and booted by its own entry."""
        self.assertEqual(("uefi", "original"), (seen.firmware, seen.image))
        self.assertEqual(f"{variables.SEEDED:04X}", seen.boot_facts["boot_current"])
        nvram = self.server.scene.nvram
        self.assertEqual(
            seen.boot_facts["boot_option"], variables.boot_entry(nvram).hex()
        )
        self.assertEqual(variables.SEEDED, variables.boot_order(nvram)[0])


class EntryKept(InstalledGuest):
    """Rescues of a server that has booted by its entry before."""

    baseline: ClassVar[Inventory]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.baseline = cls.server.boot()

    def setUp(self) -> None:
        super().setUp()
        self.assert_original(self.baseline)
        self.server.stop()

    def check(self, device: str, bus: str) -> None:
        server, before = self.server, self.checksum()
        server.define(self.derive(self.rescue_medium(device), device, bus))
        seen = server.boot()
        self.assert_rescued(seen, device)
        found = compare(self.baseline, seen)
        self.assertEqual((), found.disturbed, str(found))
        self.assertIn(seen.boot_disk, found.appeared)
        server.stop()
        self.assertEqual(before, self.checksum())

        server.define(self.own)
        self.assertEqual(self.own, server.definition())
        again = server.boot()
        self.assert_original(again)
        self.assertEqual((), compare(self.baseline, again).disturbed)


class EntryKeptTest(EntryKept, base.TestCase):
    def test_disk_on_virtio(self):
        self.check("disk", "virtio")

    def test_disk_on_scsi(self):
        self.check("disk", "scsi")

    def test_disk_on_usb(self):
        self.check("disk", "usb")


class EntryKeptOnSataTest(EntryKept, base.TestCase):
    def test_disk_on_sata(self):
        self.check("disk", "sata")

    def test_cdrom_on_sata(self):
        self.check("cdrom", "sata")

    def test_entry_is_lost_without_a_copy(self):
        """Nova runs the rescue on the server's own NVRAM: the others can fail."""
        server = self.server
        nvram = server.scene.nvram
        kept = nvram.read_bytes()
        self.addCleanup(nvram.write_bytes, kept)
        definition = self.derive(self.rescue_medium(), "disk", "virtio")
        rescue = etree.fromstring(definition)
        ours = rescue.find("os/nvram")
        ours.getparent().replace(ours, etree.fromstring(self.own).find("os/nvram"))
        server.define(etree.tostring(rescue, encoding="unicode"))
        self.assert_rescued(server.boot(), "disk")
        server.stop()
        self.assertNotEqual(kept, nvram.read_bytes())
        self.assertIsNone(variables.boot_entry(nvram))


class BlankDiskTest(InstalledGuest, base.TestCase):
    """A rescue disk that cannot be booted: the original is not booted in its place."""

    seconds: ClassVar[float]  # that a rescue took here to come up

    def setUp(self) -> None:
        super().setUp()
        if "seconds" not in vars(type(self)):
            self.server.define(self.derive(self.rescue_medium(), "disk", "virtio"))
            started = time.monotonic()
            self.assert_rescued(self.server.boot(), "disk")
            type(self).seconds = time.monotonic() - started
            self.server.stop()

    def check(self, bus: str) -> None:
        server, before = self.server, self.checksum()
        blank = server.scene.folder / "disk.rescue"
        with blank.open("wb") as stream:
            stream.truncate(64 * MIB)
        medium = Medium.from_file(str(blank))
        server.define(self.derive(medium, "disk", bus))
        server.start()
        # Twice as long as a rescue took, and until the firmware is through with it:
        # it ends in its shell, as there is nothing left to boot.
        started = time.monotonic()
        while (passed := time.monotonic() - started) < base.BOOT_SECONDS:
            if passed > 2 * self.seconds and _SHELL in server.said():
                break
            time.sleep(0.25)
        self.assertIn(_SHELL, server.said())
        self.assertNotIn("LAB1", server.said())
        server.stop()
        self.assertEqual(before, self.checksum())
        self.assertEqual([variables.SEEDED], variables.boot_order(server.scene.nvram))

    def test_disk_on_virtio_is_blank(self):
        self.check("virtio")

    def test_disk_on_scsi_is_blank(self):
        self.check("scsi")
