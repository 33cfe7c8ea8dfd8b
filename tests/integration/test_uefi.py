# SPDX-License-Identifier: Apache-2.0
"""UEFI servers keep the boot entry of the installed guest (F2, U31).

OVMF boots each rescue from a copy of the server's NVRAM file.
"""

import hashlib
from typing import ClassVar

from lxml import etree

from stable_rescue.domain.medium import Medium
from stable_rescue.tempest.guest import Inventory, compare
from tests.integration import base, variables
from tests.integration.scene import MIB

# OVMF starts its shell if nothing else can be booted. The prompt waits for a user.
_PROMPT = "Shell> "


class InstalledGuest:
    """A server whose NVRAM file has a boot entry for its root disk (F5)."""

    machine: ClassVar[str] = "q35"
    options: ClassVar[dict[str, object]] = {"firmware": "uefi"}
    server: ClassVar[base.Server]
    original_xml: ClassVar[str]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.server = base.new_server(cls.addClassCleanup, cls.machine, **cls.options)
        variables.seed(cls.server.scene.nvram, base.images().original_raw)
        # The definition is then the same as after hotplug: see test_boots.
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

    def assert_booted_by_entry(self, seen: Inventory) -> None:
        """Assert that the original system was booted by its boot entry."""
        self.assertEqual(("uefi", "original"), (seen.firmware, seen.image))
        self.assertEqual(f"{variables.SEEDED:04X}", seen.boot_facts["boot_current"])
        nvram = self.server.scene.nvram
        self.assertEqual(
            seen.boot_facts["boot_option"], variables.boot_entry(nvram).hex()
        )
        self.assertEqual(variables.SEEDED, variables.boot_order(nvram)[0])


class EntryKeptTest(InstalledGuest, base.TestCase):
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

    def check_rescue(self, device: str, bus: str) -> None:
        server, checksum_before = self.server, self.nvram_checksum()
        server.define(self.rescue_xml_that_boots(device, bus))
        rescued = server.boot()
        self.assertEqual("uefi", rescued.firmware)
        self.assert_rescue_disturbs_nothing(self.baseline, rescued, device, bus)
        self.assertEqual(server.rescue_target(), server.booted_disk())
        server.stop()
        self.assertEqual(checksum_before, self.nvram_checksum())
        server.define(self.original_xml)
        self.assertEqual(self.original_xml, server.definition())

    def check_rescue_and_unrescue(self, device: str, bus: str) -> None:
        """Also boot the original, which need not be done after every rescue.

        After each, the original definition and the NVRAM file are the same to the byte.
        """
        self.check_rescue(device, bus)
        unrescued = self.server.boot()
        self.assert_booted_by_entry(unrescued)
        comparison = compare(self.baseline, unrescued)
        self.assertEqual((), comparison.disturbed, str(comparison))
        self.assertEqual((), comparison.appeared)

    def test_disk_on_virtio_boots_and_keeps_the_boot_entry(self):
        self.check_rescue("disk", "virtio")

    def test_disk_on_scsi_boots_and_keeps_the_boot_entry(self):
        """F4: with libvirt's implicit lsilogic the original would boot (U32)."""
        self.check_rescue("disk", "scsi")

    def test_disk_on_usb_boots_and_keeps_the_boot_entry(self):
        self.check_rescue_and_unrescue("disk", "usb")

    def test_disk_on_sata_boots_and_keeps_the_boot_entry(self):
        self.check_rescue("disk", "sata")

    def test_cdrom_on_sata_boots_and_keeps_the_boot_entry(self):
        self.check_rescue("cdrom", "sata")

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
        self.assert_rescue_booted(self.server.boot(), "disk")
        self.server.stop()
        self.assertNotEqual(nvram_before, nvram.read_bytes())
        self.assertIsNone(variables.boot_entry(nvram))


class BlankDiskTest(InstalledGuest, base.TestCase):
    """If the rescue disk cannot be booted, the original is not booted instead (F3)."""

    def check_blank_disk_boots_nothing(self, bus: str) -> None:
        server, checksum_before = self.server, self.nvram_checksum()
        blank = server.scene.folder / "disk.rescue"
        with blank.open("wb") as stream:
            stream.truncate(64 * MIB)
        server.define(self.rescue_xml(Medium.from_file(str(blank)), "disk", bus))
        server.start()
        server.wait_for_text(_PROMPT)
        self.assertNotIn("LAB1", server.console_text())
        self.assertIsNone(server.booted_disk())
        server.stop()
        self.assertEqual(checksum_before, self.nvram_checksum())
        self.assertEqual([variables.SEEDED], variables.boot_order(server.scene.nvram))

    def test_blank_disk_on_virtio_never_boots_the_original(self):
        self.check_blank_disk_boots_nothing("virtio")

    def test_blank_disk_on_scsi_never_boots_the_original(self):
        self.check_blank_disk_boots_nothing("scsi")
