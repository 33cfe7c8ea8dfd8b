# SPDX-License-Identifier: Apache-2.0
"""UEFI servers keep the boot entry of the installed guest (F2, U31)."""

import hashlib
import time
from typing import ClassVar

from lxml import etree

from stable_rescue.domain.medium import Medium
from stable_rescue.tempest.guest import Inventory, compare
from tests.integration import base, variables
from tests.integration.scene import MIB

_SHELL = "UEFI Interactive Shell"


class InstalledGuest:
    """A server whose NVRAM file has a boot entry for its root disk (F5).

    Devices were unplugged and plugged while the server was off, so its addresses are
    as uneven as after hotplug.
    """

    machine: ClassVar[str] = "q35"
    options: ClassVar[dict[str, object]] = {"firmware": "uefi"}
    server: ClassVar[base.Server]
    original_xml: ClassVar[str]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.server = base.new_server(cls.addClassCleanup, cls.machine, **cls.options)
        variables.seed(cls.server.scene.nvram, base.images().original_raw)
        cls.server.unplug_volume()
        cls.server.plug_devices()
        cls.original_xml = cls.server.definition()

    def rescue_xml(self, medium: Medium, device: str, bus: str) -> str:
        """Return the rescue definition; the test's cleanup ends the rescue."""
        nvram_copy = self.server.scene.nvram.with_suffix(".fd.rescue")
        nvram_copy.unlink(missing_ok=True)  # Each rescue starts with a new copy.
        self.addCleanup(nvram_copy.unlink, missing_ok=True)
        self.addCleanup(self.server.define, self.original_xml)
        self.addCleanup(self.server.stop)
        return base.derive(self.original_xml, device, bus, medium).rescue.to_xml()

    def rescue_xml_that_boots(self, device: str, bus: str) -> str:
        medium = base.rescue_medium(self.addCleanup, device)
        return self.rescue_xml(medium, device, bus)

    def nvram_checksum(self) -> str:
        """Return the sha256 of the server's NVRAM file."""
        return hashlib.sha256(self.server.scene.nvram.read_bytes()).hexdigest()

    def assert_rescued(self, seen: Inventory, device: str) -> None:
        """Assert that OVMF has booted the rescue disk."""
        self.assertEqual("uefi", seen.firmware)
        self.assert_rescue_booted(seen, device)

    def assert_booted_by_entry(self, seen: Inventory) -> None:
        """Assert that the original system was booted by its boot entry."""
        self.assertEqual(("uefi", "original"), (seen.firmware, seen.image))
        self.assertEqual(f"{variables.SEEDED:04X}", seen.boot_facts["boot_current"])
        nvram = self.server.scene.nvram
        self.assertEqual(
            seen.boot_facts["boot_option"], variables.boot_entry(nvram).hex()
        )
        self.assertEqual(variables.SEEDED, variables.boot_order(nvram)[0])


class EntryKept(InstalledGuest):
    """Rescues of a server that was booted by its boot entry before."""

    baseline: ClassVar[Inventory]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.baseline = cls.server.boot()

    def setUp(self) -> None:
        super().setUp()
        self.assert_booted_by_entry(self.baseline)
        self.server.stop()

    def check_rescue_and_unrescue(self, device: str, bus: str) -> None:
        server, checksum_before = self.server, self.nvram_checksum()
        server.define(self.rescue_xml_that_boots(device, bus))
        rescued = server.boot()
        self.assert_rescued(rescued, device)
        comparison = compare(self.baseline, rescued)
        self.assertEqual((), comparison.disturbed, str(comparison))
        self.assertIn(rescued.boot_disk, comparison.appeared)
        server.stop()
        self.assertEqual(checksum_before, self.nvram_checksum())

        server.define(self.original_xml)
        self.assertEqual(self.original_xml, server.definition())
        unrescued = server.boot()
        self.assert_booted_by_entry(unrescued)
        self.assertEqual((), compare(self.baseline, unrescued).disturbed)


class EntryKeptTest(EntryKept, base.TestCase):
    def test_disk_on_virtio_boots_and_keeps_the_boot_entry(self):
        self.check_rescue_and_unrescue("disk", "virtio")

    def test_disk_on_scsi_boots_and_keeps_the_boot_entry(self):
        """F4: with libvirt's implicit lsilogic the original would boot (U32)."""
        self.check_rescue_and_unrescue("disk", "scsi")

    def test_disk_on_usb_boots_and_keeps_the_boot_entry(self):
        self.check_rescue_and_unrescue("disk", "usb")


class EntryKeptOnSataTest(EntryKept, base.TestCase):
    def test_disk_on_sata_boots_and_keeps_the_boot_entry(self):
        self.check_rescue_and_unrescue("disk", "sata")

    def test_cdrom_on_sata_boots_and_keeps_the_boot_entry(self):
        self.check_rescue_and_unrescue("cdrom", "sata")

    def test_rescue_without_nvram_copy_loses_the_boot_entry(self):
        """Stock rescue has no copy. This shows that the other tests can fail."""
        nvram = self.server.scene.nvram
        nvram_before = nvram.read_bytes()
        self.addCleanup(nvram.write_bytes, nvram_before)
        rescue = etree.fromstring(self.rescue_xml_that_boots("disk", "virtio"))
        copied = rescue.find("os/nvram")
        original = etree.fromstring(self.original_xml)
        copied.getparent().replace(copied, original.find("os/nvram"))
        self.server.define(etree.tostring(rescue, encoding="unicode"))
        self.assert_rescued(self.server.boot(), "disk")
        self.server.stop()
        self.assertNotEqual(nvram_before, nvram.read_bytes())
        self.assertIsNone(variables.boot_entry(nvram))


class BlankDiskTest(InstalledGuest, base.TestCase):
    """If the rescue disk cannot be booted, the original is not booted instead (F3)."""

    #: How long a rescue that boots takes on this machine.
    rescue_seconds: ClassVar[float]

    def setUp(self) -> None:
        super().setUp()
        if "rescue_seconds" not in vars(type(self)):
            self.server.define(self.rescue_xml_that_boots("disk", "virtio"))
            started = time.monotonic()
            self.assert_rescued(self.server.boot(), "disk")
            type(self).rescue_seconds = time.monotonic() - started
            self.server.stop()

    def check_blank_disk_boots_nothing(self, bus: str) -> None:
        server, checksum_before = self.server, self.nvram_checksum()
        blank = server.scene.folder / "disk.rescue"
        with blank.open("wb") as stream:
            stream.truncate(64 * MIB)
        server.define(self.rescue_xml(Medium.from_file(str(blank)), "disk", bus))
        server.start()
        # Firmware that has nothing left to boot starts its shell. Wait for that, and
        # at least twice as long as a rescue takes.
        started = time.monotonic()
        while (passed := time.monotonic() - started) < base.BOOT_SECONDS:
            if passed > 2 * self.rescue_seconds and _SHELL in server.console_text():
                break
            time.sleep(0.25)
        self.assertIn(_SHELL, server.console_text())
        self.assertNotIn("LAB1", server.console_text())
        server.stop()
        self.assertEqual(checksum_before, self.nvram_checksum())
        self.assertEqual([variables.SEEDED], variables.boot_order(server.scene.nvram))

    def test_blank_disk_on_virtio_never_boots_the_original(self):
        self.check_blank_disk_boots_nothing("virtio")

    def test_blank_disk_on_scsi_never_boots_the_original(self):
        self.check_blank_disk_boots_nothing("scsi")
