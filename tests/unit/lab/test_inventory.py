# SPDX-License-Identifier: Apache-2.0
"""The reader and the comparison of inventories, on consoles recorded from guests."""

import unittest
from pathlib import Path

from stable_rescue.tempest.guest import comparison, firmware, inventory

_CONSOLES = Path(__file__).parent / "consoles"


def recorded(name: str) -> str:
    return (_CONSOLES / f"{name}.log").read_text()


def read(name: str) -> inventory.Inventory:
    latest = inventory.last(recorded(name))
    if latest is None:
        raise AssertionError(f"no inventory in {name}")
    return latest


class ParseTest(unittest.TestCase):
    def test_inventory_has_disks_nics_pci_and_usb_devices(self):
        guest = read("q35-before")
        self.assertEqual(("original", "bios"), (guest.image, guest.firmware))
        disk = next(d for d in guest.disks if d.serial == "vol-1")
        self.assertEqual(("vdb", "00:02.2/03:00.0"), (disk.name, disk.address))
        self.assertEqual(64 * 2**20, disk.size)
        (nic,) = guest.of_kind("nic")
        self.assertEqual("52:54:00:aa:bb:01", nic.mac)
        self.assertEqual("00:02.0/01:00.0", nic.address)
        (tablet,) = guest.of_kind("usb")
        self.assertEqual("00:05.0/usb:1", tablet.address)
        balloon = next(d for d in guest.of_kind("pci") if d.ids == "1af4:1045")
        self.assertEqual(
            ("00:02.4/05:00.0", "virtio-pci"), (balloon.address, balloon.driver)
        )

    def test_address_contains_no_counter_of_the_kernel(self):
        cases = {
            "pci0000:00/0000:00:03.0/virtio7/block/vda": "00:03.0",
            "pci0000:00/0000:00:02.1/0000:04:00.0/virtio1/net/eth0": "00:02.1/04:00.0",
            "pci0000:00/0000:00:05.0/virtio3/host9/target9:0:2/9:0:2:1/block/sdc": (
                "00:05.0/0:2:1"
            ),
            "pci0000:00/0000:00:05.0/usb2/2-1/2-1:1.0/host6/target6:0:0/6:0:0:0/block"
            "/sda": "00:05.0/usb:1/0:0:0",
            "pci0000:00/0000:00:05.0/usb4/4-2/4-2.3/4-2.3:1.0/host1/target1:0:0"
            "/1:0:0:0/block/sda": "00:05.0/usb:2.3/0:0:0",
            "platform/floppy.0/block/fd0": "platform/floppy.0",
        }
        for path, address in cases.items():
            self.assertEqual(address, inventory.address_of(path), path)

    def test_address_of_an_ata_disk_has_the_port(self):
        (drive,) = [d for d in read("bios-pc-cd").disks if d.is_cdrom]
        self.assertEqual("00:01.1/ata:2/0:0:0", drive.address)

    def test_console_has_an_inventory_after_each_hotplug(self):
        guests = inventory.parse(recorded("hotplug"))
        self.assertEqual([1, 2, 3, 4], [guest.sequence for guest in guests])
        self.assertEqual([1, 2, 2, 1], [len(guest.disks) for guest in guests])
        self.assertEqual([0, 0, 1, 1], [len(guest.of_kind("nic")) for guest in guests])
        self.assertIn(inventory.POWER_OFF_MARK, recorded("hotplug"))

    def test_console_of_two_boots_has_two_inventories(self):
        guests = inventory.parse(recorded("q35-before") + recorded("q35-kept"))
        self.assertEqual(["original", "rescue"], [guest.image for guest in guests])

    def test_line_broken_in_one_copy_is_read_from_the_other(self):
        whole = recorded("q35-before")
        line = next(x for x in whole.splitlines() if '"vol-1"' in x)
        torn = line[:60] + "\n[  5.1] usb 1-1: new device\n" + line[60:]
        text = whole.replace(line, torn, 1)
        self.assertNotEqual(whole, text)
        self.assertEqual(inventory.parse(whole), inventory.parse(text))

    def test_line_with_a_kernel_message_is_read(self):
        whole = recorded("q35-before")
        text = whole.replace("LAB1 ", "[  5.1] noise LAB1 ").replace("}\n", "}noise\n")
        self.assertEqual(inventory.parse(whole), inventory.parse(text))

    def test_inventory_that_is_incomplete_is_left_out(self):
        lines = recorded("q35-before").splitlines()
        kept = [x for x in lines if '"vol-1"' not in x]
        self.assertEqual([], inventory.parse("\n".join(kept)))
        self.assertIsNone(inventory.last("SeaBIOS"))

    def test_line_that_continues_another_one_is_left_out(self):
        """The guest was destroyed while it printed."""
        whole = recorded("q35-before")
        line = next(x for x in whole.splitlines() if '"vol-1"' in x)
        boot = next(x for x in whole.splitlines() if x.startswith("LAB1 1 1 "))
        joined = " ".join(line.split(" ")[:4] + boot.split(" ")[4:])
        text = whole.replace(line, joined, 1)
        self.assertNotEqual(whole, text)
        self.assertEqual(inventory.parse(whole), inventory.parse(text))

    def test_end_of_a_boot_is_not_completed_by_the_next_one(self):
        """The console's output has lost its beginning."""
        lines = [x for x in recorded("q35-before").splitlines() if "LAB1" in x]
        count = len(lines) // 2
        end = [*lines[5:count]]
        next_boot = [lines[0].replace('"up":"11', '"up":"99'), *lines[1:count]]
        for number in range(count):
            text = "\n".join([*end, *next_boot[:number]])
            self.assertEqual([], inventory.parse(text))
        (guest,) = inventory.parse("\n".join([*end, *next_boot]))
        self.assertEqual(99.79, guest.uptime)


class BootDiskTest(unittest.TestCase):
    def check(self, console: str, image: str, address: str) -> None:
        guest = read(console)
        self.assertEqual(image, guest.image)
        self.assertIsNotNone(guest.boot_disk)
        self.assertEqual(address, guest.boot_disk.address)
        self.assertEqual(f"{image} {guest.build}", guest.boot_disk.label)

    def test_boot_disk_with_bios_by_edd_path(self):
        self.check("q35-kept", "rescue", "00:1f.1/06:00.0")
        self.check("q35-before", "original", "00:02.1/02:00.0")

    def test_boot_disk_with_bios_by_signature(self):
        self.check("bios-pc-usb", "rescue", "00:03.0/usb:1/0:0:0")

    def test_boot_disk_with_bios_is_a_cdrom(self):
        self.check("bios-pc-cd", "rescue", "00:01.1/ata:2/0:0:0")

    def test_boot_disk_with_uefi_is_that_of_the_boot_option(self):
        self.check("uefi-q35-scsi", "rescue", "00:02.0/0:0:0")

    def test_boot_disk_is_unknown_if_signature_and_path_differ(self):
        guest = inventory.last(
            recorded("q35-kept").replace(
                '"pci0000:00/0000:00:1f.1/0000:06:00.0"}', '""}'
            )
        )
        self.assertEqual("00:1f.1/06:00.0", guest.boot_disk.address)
        text = recorded("q35-kept").replace(
            f'"edd_signature":"{read("q35-kept").boot_disk.signature}"',
            f'"edd_signature":"{read("q35-before").boot_disk.signature}"',
        )
        # Now the signature and the path name different disks.
        self.assertIsNone(inventory.last(text).boot_disk)


class BootOptionTest(unittest.TestCase):
    """Boot options as recorded from OVMF: attributes, length, "U", the path."""

    def option(self, path: str) -> firmware.BootOption:
        path += "7fff0400"
        length = (len(path) // 2).to_bytes(2, "little").hex()
        return firmware.BootOption.parse(f"01000000{length}55000000{path}")

    def test_boot_option_names_a_sata_disk(self):
        option = self.option(
            "02010c00d041030a000000000101" + "0600021f" + "03120a000100ffff0000"
        )
        self.assertTrue(option.names("00:1f.2/ata:2/0:0:0", ""))
        self.assertFalse(option.names("00:1f.2/ata:3/0:0:0", ""))

    def test_boot_option_names_a_usb_disk(self):
        option = self.option("02010c00d041030a0000000001010600000303050600" + "0000")
        self.assertTrue(option.names("00:03.0/usb:1/0:0:0", ""))
        self.assertFalse(option.names("00:04.0/usb:1/0:0:0", ""))

    def test_boot_option_names_a_virtio_disk_behind_a_port(self):
        option = self.option(
            "02010c00d041030a00000000" + "010106000102" + "010106000000"
        )
        self.assertTrue(option.names("00:02.1/02:00.0", ""))
        self.assertFalse(option.names("00:02.1", ""))

    def test_boot_option_names_a_partition_by_signature(self):
        path = "04012a00" + "01000000" + "00" * 16 + "884c5ffd" + "00" * 12 + "0101"
        option = self.option(path)
        self.assertTrue(option.names("00:02.0", "0xfd5f4c88"))
        self.assertFalse(option.names("00:02.0", "0x00000001"))

    def test_boot_option_that_is_empty_names_nothing(self):
        self.assertFalse(firmware.BootOption.parse("").names("00:02.0", ""))


class CompareTest(unittest.TestCase):
    def test_compare_guests_with_the_rescue_disk_as_only_change(self):
        changes = comparison.compare(read("q35-before"), read("q35-kept"))
        self.assertEqual((), changes.disturbed)
        self.assertEqual(16, len(changes.originals))
        self.assertEqual(
            ["00:1f.1/06:00.0", "00:1f.1"], [d.address for d in changes.appeared]
        )

    def test_compare_finds_devices_that_moved_or_were_renamed(self):
        changes = comparison.compare(read("q35-before"), read("q35-moved"))
        moved = {
            c.device.serial or c.device.label or c.device.ids: (c.moved, c.renamed)
            for c in changes.disturbed
        }
        label = f"original {read('q35-before').build}"
        self.assertEqual(
            {
                "vol-1": (True, True),
                "vol-2": (True, True),
                label: (True, True),
                "1af4:1045": (True, False),  # the balloon, which is transitional now
            },
            moved,
        )
        self.assertIn("moved: 4 of 16", str(changes))

    def test_compare_finds_devices_that_vanished(self):
        changes = comparison.compare(read("q35-kept"), read("q35-before"))
        self.assertEqual(
            ["00:1f.1/06:00.0", "00:1f.1"],
            [c.device.address for c in changes.disturbed],
        )
        self.assertTrue(all(c.vanished for c in changes.disturbed))

    def test_compare_does_not_confuse_equal_disks(self):
        text = recorded("q35-before").replace('"vol-1"', '"_____"')
        text = text.replace('"vol-2"', '"_____"')
        guest = inventory.last(text.replace('"_____"', '"ZZZZZ"'))
        self.assertEqual((), comparison.compare(guest, guest).disturbed)

    def test_compare_a_guest_with_itself_finds_nothing(self):
        guest = read("q35-moved")
        changes = comparison.compare(guest, guest)
        self.assertEqual((), changes.disturbed)
        self.assertEqual((), changes.appeared)
