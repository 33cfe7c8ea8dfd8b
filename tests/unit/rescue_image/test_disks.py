# SPDX-License-Identifier: Apache-2.0
"""What rescue-disks says about the disks of a server."""

import json
from pathlib import Path
from typing import Any

import fixtures
from oslotest import base
from rescue_tools import disks, fstab, greeting

from tests.unit.rescue_image.fakes import FakeCommands, device, own_disk, write

SERVER = device(
    "/dev/vda",
    "disk",
    serial="6c1f0a52-3a86-4d0b-8",
    children=[
        device("/dev/vda1", fstype="ext4", label="cloudimg-rootfs", uuid="ROOT"),
        device("/dev/vda15", fstype="vfat", uuid="AB-CD", parttypename="EFI System"),
    ],
)
CONFIG_DRIVE = device("/dev/sr0", "rom", fstype="iso9660", label="config-2")


class DisksTestCase(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.state = Path(self.useFixture(fixtures.TempDir()).path)
        write(self.state, {"device": "sda3\n"})

    def read(self, *entries: dict[str, Any]) -> disks.Disks:
        return disks.read(FakeCommands(*entries), self.state)

    def test_own_disk_is_told_apart_by_the_device_booted(self) -> None:
        twin = device("/dev/sdb", "disk", children=[device("/dev/sdb3")])
        found = self.read(twin, own_disk())
        assert found.rescue is not None
        self.assertEqual("/dev/sda", found.rescue.path)
        self.assertEqual(["/dev/sdb"], [disk.path for disk in found.server])

    def test_empty_drives_and_loops_are_left_out(self) -> None:
        loop = device("/dev/loop0", "loop")
        floppy = device("/dev/fd0", "disk", size=4096)
        found = self.read(own_disk(), device("/dev/sr0", "rom", size=0), loop, floppy)
        self.assertEqual((), found.server)

    def test_text_names_what_is_on_each_device(self) -> None:
        text = greeting.text(self.read(own_disk(), SERVER, CONFIG_DRIVE), {}, True)
        self.assertIn("rescue system, on /dev/sda.", text)
        rows = {line.split()[0]: line for line in text.splitlines() if "/dev/" in line}
        self.assertIn("2 partitions, serial 6c1f0a52", rows["/dev/vda"])
        self.assertIn('ext4 file system "cloudimg-rootfs"', rows["/dev/vda1"])
        self.assertIn("10G", rows["/dev/vda1"])
        self.assertIn("EFI system partition", rows["/dev/vda15"])
        self.assertIn("config drive of this rescue", rows["/dev/sr0"])
        self.assertIn("rescue-report", text)
        self.assertNotIn("WARNING", text)

    def test_text_names_volume_groups_that_are_not_active(self) -> None:
        disk = device("/dev/vda", "disk", fstype="LVM2_member")
        text = greeting.text(self.read(own_disk(), disk), {"vg0": ["root"]}, False)
        self.assertIn("volume group vg0, not active: root", text)
        self.assertNotIn("What to type next", text)

    def test_text_names_what_rescue_mount_will_unlock(self) -> None:
        disk = device("/dev/vda", "disk", fstype="crypto_LUKS")
        text = greeting.text(self.read(own_disk(), disk), {}, False)
        self.assertIn("rescue-mount asks for the passphrase of /dev/vda.", text)

    def test_warning_if_a_disk_has_an_identity_of_the_own_disk(self) -> None:
        twin = device("/dev/vda", "disk", children=[device("/dev/vda3", partuuid="P")])
        found = self.read(own_disk(partuuid="P"), twin)
        (message,) = greeting.warnings(found)
        self.assertIn("/dev/vda3 has the partuuid P of this rescue system", message)
        self.assertIn("runs from /dev/sda nevertheless", message)

    def test_warning_if_two_disks_of_the_server_are_equal(self) -> None:
        twin = json.loads(json.dumps(SERVER).replace("vda", "vdb"))
        messages = greeting.warnings(self.read(own_disk(), SERVER, twin))
        self.assertEqual(3, len(messages))
        self.assertIn("/dev/vda1 and /dev/vdb1 have the same uuid ROOT", messages[0])

    def test_members_of_an_array_are_no_duplicates(self) -> None:
        members = [
            device(f"/dev/vd{letter}", "disk", fstype="linux_raid_member", uuid="R")
            for letter in "ab"
        ]
        self.assertEqual([], greeting.warnings(self.read(own_disk(), *members)))

    def test_size_has_one_digit_below_ten(self) -> None:
        sizes = [disks.size_of(count) for count in (512, 1536, 10 * 1024**3, 2**42)]
        self.assertEqual(["512B", "1.5K", "10G", "4T"], sizes)

    def test_volume_groups_come_from_lvs(self) -> None:
        commands = FakeCommands()
        volumes = [{"vg_name": "vg0", "lv_name": name} for name in ("root", "swap")]
        commands.outputs["lvs", "json"] = json.dumps({"report": [{"lv": volumes}]})
        self.assertEqual({"vg0": ["root", "swap"]}, disks.volume_groups(commands))
        self.assertEqual({}, disks.volume_groups(FakeCommands()))

    def test_fstab_device_on_the_disk_of_the_root_wins(self) -> None:
        twin = json.loads(json.dumps(SERVER).replace("vda", "vdb"))
        found = self.read(own_disk(uuid="ROOT"), SERVER, twin)
        root = fstab.device_for("/dev/vdb1", found, None)
        assert root is not None
        boot = fstab.device_for("UUID=ab-cd", found, root)
        assert boot is not None
        self.assertEqual("/dev/vdb15", boot.path)

    def test_fstab_never_means_the_disk_of_the_rescue(self) -> None:
        found = self.read(own_disk(uuid="OWN"))
        self.assertIsNone(fstab.device_for("UUID=OWN", found, None))

    def test_fstab_names_devices_in_every_way(self) -> None:
        volume = device("/dev/mapper/vg--0-root", "lvm", kname="dm-0", label="x y")
        found = self.read(device("/dev/vda", "disk", children=[volume]))
        for source in (
            "/dev/mapper/vg--0-root",
            "/dev/vg-0/root",
            "/dev/dm-0",
            "LABEL=x y",
            "/dev/disk/by-label/x y",
        ):
            match = fstab.device_for(source, found, None)
            assert match is not None, source
            self.assertEqual("/dev/mapper/vg--0-root", match.path)

    def test_fstab_lines_are_parsed(self) -> None:
        entries = fstab.parse(
            "# comment\n\nUUID=1 / ext4\n"
            "LABEL=a\\040b /srv/a\\040b btrfs nofail,subvol=/@srv 0 0\n"
            "nas:/x /nas nfs defaults\ntmpfs /tmp tmpfs\n/dev/vdb none swap sw\n"
            "/a /b none bind\n//nas/x /y auto _netdev\n"
        )
        self.assertEqual(
            [True, True, False, False, True, False, False],
            [entry.is_local for entry in entries],
        )
        self.assertEqual(("defaults",), entries[0].options)
        self.assertEqual("LABEL=a b", entries[1].source)
        self.assertEqual("/srv/a b", entries[1].point)
        self.assertEqual("@srv", entries[1].subvolume)
        self.assertEqual("", entries[0].subvolume)
        self.assertEqual([False, True], [entry.may_fail for entry in entries[:2]])
        self.assertTrue(entries[4].is_swap)
