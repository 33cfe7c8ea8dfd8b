# SPDX-License-Identifier: Apache-2.0
"""The devices of ordinary Linux guests, parsed from the output of commands."""

from __future__ import annotations

import json
import unittest

from stable_rescue.tempest.guest import compare, linux

VOLUME = "0e6d3c5b-7c1c-4d5f-9"
DISKS = {
    "vda": ("disk", 10 << 30, None, None, None, "b9d40a5b"),
    "vdb": ("disk", 1 << 30, VOLUME, "ext4", "data", None),
    "sr0": ("rom", 498 << 10, "QM00001", "iso9660", "config-2", None),
    "zram0": ("disk", 1 << 30, None, None, None, None),
}
BY_PATH = """\
virtio-pci-0000:04:00.0 ../../vda
pci-0000:04:00.0 ../../vda
pci-0000:04:00.0-part1 ../../vda1
pci-0000:05:00.0 ../../vdb
pci-0000:00:1f.2-ata-1.0 ../../sr0
pci-0000:00:1f.2-ata-1 ../../sr0
"""
NICS = [
    {"ifname": "lo", "address": "00:00:00:00:00:00"},
    {"ifname": "ens3", "address": "fa:16:3e:09:b6:05"},
    {"ifname": "docker0", "address": "02:42:00:00:00:01"},
]
NIC_PATHS = """\
lo ../../devices/virtual/net/lo
docker0 ../../devices/virtual/net/docker0
ens3 ../../devices/pci0000:00/0000:00:02.1/0000:03:00.0/virtio0/net/ens3
"""
FUNCTIONS = """\
0000:00:00.0 "0600" "8086" "29c0" "1af4" "1100"
0000:00:1f.2 "0106" "8086" "2922" -r02 -p01 "1af4" "1100"
0000:03:00.0 "0200" "1af4" "1041" -r01 "1af4" "1100"
0000:06:00.0 "00ff" "1af4" "1045" -r01 "" ""
"""


def lsblk(**disks: tuple[object, ...]) -> str:
    names = ("type", "size", "serial", "fstype", "label", "ptuuid")
    devices = [
        {"name": name, "ro": False, "rm": name == "sr0"}
        | dict(zip(names, values, strict=True))
        for name, values in disks.items()
    ]
    return json.dumps({"blockdevices": devices})


class Guest:
    """Answers commands, and keeps the list of those that ran."""

    def __init__(self, **answers: str) -> None:
        root = [{"name": "vda1", "type": "part"}, {"name": "vda", "type": "disk"}]
        self.ran: list[str] = []
        self.answers = {
            linux.BOOT_ID: "6f2c\n",
            linux.UPTIME: "12.5 20.0\n",
            linux.FIRMWARE: "bios\n",
            linux.DISKS: lsblk(**DISKS),
            linux.ROOT: json.dumps({"blockdevices": root}),
            linux.BY_PATH: BY_PATH,
            linux.NICS: json.dumps(NICS),
            linux.NIC_PATHS: NIC_PATHS,
            linux.FUNCTIONS: FUNCTIONS,
        } | {getattr(linux, name): answer for name, answer in answers.items()}

    def __call__(self, command: str) -> str:
        self.ran.append(command)
        return self.answers.get(command, "")


class ReadTest(unittest.TestCase):
    def test_disk_address_is_udev_name_by_path(self) -> None:
        guest = linux.read(Guest())
        self.assertEqual(
            {
                "vda": "pci-0000:04:00.0",
                "vdb": "pci-0000:05:00.0",
                "sr0": "pci-0000:00:1f.2-ata-1",
            },
            {disk.name: disk.address for disk in guest.disks},
        )
        data = next(disk for disk in guest.disks if disk.name == "vdb")
        self.assertEqual(
            (1 << 30, VOLUME, "ext4", "data"),
            (data.size, data.serial, data.content, data.label),
        )

    def test_boot_disk_is_disk_of_root_file_system(self) -> None:
        guest = linux.read(Guest())
        self.assertEqual(("6f2c", "bios"), (guest.boot_id, guest.firmware))
        assert guest.boot_disk is not None
        self.assertEqual("vda", guest.boot_disk.name)

    def test_boot_disk_with_root_on_two_disks_is_none(self) -> None:
        root = [{"name": name, "type": "disk"} for name in ("vda", "vdb")]
        guest = linux.read(Guest(ROOT=json.dumps({"blockdevices": root})))
        self.assertIsNone(guest.boot_disk)

    def test_virtual_interfaces_are_not_read_as_nics(self) -> None:
        (nic,) = linux.read(Guest()).of_kind("nic")
        self.assertEqual(
            ("ens3", "00:02.1/03:00.0", "fa:16:3e:09:b6:05"),
            (nic.name, nic.address, nic.mac),
        )

    def test_pci_functions_without_subsystem_are_read_too(self) -> None:
        functions = linux.read(Guest()).of_kind("pci")
        self.assertEqual(
            [
                ("00:00.0", "8086:29c0", "1af4:1100", "0600"),
                ("00:1f.2", "8086:2922", "1af4:1100", "0106"),
                ("03:00.0", "1af4:1041", "1af4:1100", "0200"),
                ("06:00.0", "1af4:1045", ":", "00ff"),
            ],
            [(d.address, d.ids, d.subsystem, d.pci_class) for d in functions],
        )

    def test_read_of_unexpected_output_raises_value_error(self) -> None:
        with self.assertRaises(ValueError):
            linux.read(Guest(FUNCTIONS="lspci: Cannot open /proc/bus/pci\n"))

    def test_compare_reports_moved_disk(self) -> None:
        moved = BY_PATH.replace("pci-0000:05:00.0 ", "pci-0000:07:00.0 ")
        comparison = compare(linux.read(Guest()), linux.read(Guest(BY_PATH=moved)))
        self.assertEqual(
            ["vdb"], [change.device.name for change in comparison.disturbed]
        )

    def test_lsblk_with_old_flags_is_read(self) -> None:
        text = lsblk(sda=("disk", "1024", None, None, None, None))
        text = text.replace("false", '"1"')
        (disk,) = linux.read(Guest(DISKS=text, BY_PATH="")).disks
        self.assertEqual((1024, True, True), (disk.size, disk.readonly, disk.removable))


class MarkerTest(unittest.TestCase):
    def test_marker_is_written_and_synced(self) -> None:
        guest = Guest()
        linux.write_marker(guest, "vdb", "6f2c-vdb")
        (command,) = guest.ran
        self.assertIn("echo 6f2c-vdb | sudo dd of=/dev/vdb", command)
        self.assertIn("fsync", command)

    def test_marker_with_shell_characters_is_rejected(self) -> None:
        for text in ("", "a;b", "$(x)", "a b", "a" * 65):
            guest = Guest()
            with self.assertRaises(ValueError, msg=text):
                linux.write_marker(guest, "vdb", text)
            self.assertEqual([], guest.ran)

    def test_admin_password_is_read_from_config_drive(self) -> None:
        guest = Guest(ADMIN_PASSWORD='{"admin_pass": "secret", "uuid": "x"}')
        self.assertEqual("secret", linux.admin_password(guest))
        self.assertEqual("", linux.admin_password(Guest(ADMIN_PASSWORD="{}")))
