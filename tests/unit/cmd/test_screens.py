# SPDX-License-Identifier: Apache-2.0
"""The manual shows what the commands print on a host with these rescues."""

import dataclasses
import datetime
import re
import shlex

from stable_rescue.storage.record import State
from tests.unit.cmd import host
from tests.unit.cmd.host import HostTestCase

PAGE = host.ROOT / "doc" / "source" / "cli.rst"
DAY = datetime.datetime(2026, 1, 15)
# Nova's default, in place of the test's folder.
INSTANCES = "/var/lib/nova/instances"


class ScreensTest(HostTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.options.append("rescue_timeout = 86400")
        record = self.add_server()
        rescued_at = DAY.replace(hour=22, minute=41, second=7)
        self.save(dataclasses.replace(record, rescued_at=rescued_at))
        record = self.add_server("pc-scsi", State.PREPARING)
        path = self.directory(record) / "stable_rescue.json"
        host.set_time(path, DAY.replace(day=16, hour=3, minute=2, second=55))

    def test_screens_of_the_manual_are_real(self) -> None:
        screens = re.findall(
            r"(?m)^    \$ stable-rescue (.*)\n((?:    .*\n|\n)+)", PAGE.read_text()
        )
        self.assertEqual(1, len(screens))
        for command, block in screens:
            with self.subTest(command):
                lines = [line.removeprefix("    ") for line in block.splitlines()]
                shown = "\n".join(lines).strip() + "\n"
                _status, output, errors = self.run_command(*shlex.split(command))
                printed = output.replace(str(self.instances), INSTANCES)
                self.assertEqual((shown, ""), (printed, errors))
