# SPDX-License-Identifier: Apache-2.0
"""tools/rescue-image check: how it attaches an image, and how it uses a console."""

import os
from pathlib import Path

import fixtures
from elapsed import Clock
from oslotest import base
from rescue_images import ImageError, check, machine

#: Behaves as QEMU with a rescue system that greets, and whose shell ends a line that it
#: has read with a line feed.
_QEMU = """\
#!/bin/sh
printf 'rescue login: '
read -r name
printf '\\033[1mPassword\\033[0m: '
read -r password
[ "$name:$password" = root:secret ] || exit 1
printf '\\r\\nGreeting\\r\\n(rescue) root@web1:~# '
poweroff() { exit 0; }
stty() { :; }
dmesg() { :; }
while read -r line; do printf '\\033[?2004l\\r\\r\\n'; eval "$line"; done
"""


class CheckTestCase(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.useFixture(fixtures.TempDir()).path)
        qemu = self.folder / "qemu-system-x86_64"
        qemu.write_text(_QEMU)
        qemu.chmod(0o755)
        path = f"{self.folder}:{os.environ['PATH']}"
        self.useFixture(fixtures.EnvironmentVariable("PATH", path))
        self.log = self.folder / "console.log"

    def test_console_is_read_from_login_to_power_off(self) -> None:
        with machine.Machine([], self.log) as one:
            self.assertEqual("Greeting", one.log_in("secret"))
            self.assertEqual((0, "a\n"), one.run("echo a"))
            self.assertEqual((0, "\n"), one.run("echo"))
            self.assertEqual((3, ""), one.run("(exit 3)"))
            one.type("poweroff")
            one.wait()
        self.assertIn("Greeting", self.log.read_text())

    def test_escape_sequence_in_two_reads_is_removed(self) -> None:
        with machine.Machine([], self.log) as one:
            one.log_in("secret")
            split = "printf '\\033['; sleep 0.3; printf '?2004l\\r\\342'; sleep 0.3; "
            self.assertEqual((0, "…a\n"), one.run(f"{split}printf '\\200\\246a\\n'"))

    def test_machine_that_ends_is_reported_with_its_console(self) -> None:
        with machine.Machine([], self.log) as one:
            error = self.assertRaises(ImageError, one.log_in, "wrong")
        self.assertIn("QEMU ended before", str(error))

    def test_limit_is_reported_with_what_was_awaited(self) -> None:
        with machine.Machine([], self.log) as one:
            error = self.assertRaises(ImageError, one.wait_for, "never", 0)
        self.assertIn("'never'", str(error))

    def test_missing_qemu_is_reported(self) -> None:
        self.useFixture(fixtures.EnvironmentVariable("PATH", "/nowhere"))
        one = machine.Machine([], self.log)
        error = self.assertRaises(ImageError, one.__enter__)
        self.assertIn("apt-get install", str(error))

    def test_cases_have_every_bus_with_bios_and_with_uefi(self) -> None:
        buses: dict[str, set[str]] = {}
        for case in check.CASES.values():
            buses.setdefault(case.firmware, set()).add(case.bus)
        self.assertEqual({"usb", "virtio", "scsi", "ide"}, buses["bios"])
        self.assertEqual({"usb", "virtio", "scsi", "sata"}, buses["uefi"])
        scenes = {case.scene for case in check.CASES.values()}
        self.assertEqual({"look", "repair", "twins"}, scenes)

    def test_rescue_is_booted_and_keeps_nothing(self) -> None:
        for case in (check.Case("bios", "pc", "usb"), check.Case("bios", "pc", "ide")):
            image = self.folder / f"rescue.{case.image_format}"
            words = check.arguments(case, [Path("server.raw")], image, self.folder)
            (boots,) = [word for word in words if "bootindex=1" in word]
            self.assertIn("drive=rescue", boots)
            (drive,) = [word for word in words if "id=rescue," in word]
            self.assertRegex(drive, "snapshot=on|readonly=on")
            (server,) = [word for word in words if "id=disk0," in word]
            self.assertNotIn("snapshot", server)

    def test_missing_image_is_reported(self) -> None:
        self.useFixture(
            fixtures.MonkeyPatch(
                "rescue_images.servers.config_drive", lambda folder, log: folder
            )
        )
        out = self.folder / "out"
        error = self.assertRaises(ImageError, check.check, out, ["bios-usb"], Clock())
        self.assertIn("tools/rescue-image build", str(error))
