# SPDX-License-Identifier: Apache-2.0
"""Waiting for guests, and reading them from the console or over ssh."""

from __future__ import annotations

import hashlib
import json
import unittest
from typing import Any
from unittest import mock

from tempest.lib import exceptions

from stable_rescue.tempest import readers
from stable_rescue.tempest.guest.inventory import Device, Inventory


def console(boot_id: str, **disk: str) -> str:
    """Return the console output of a guest with one disk, vda."""
    facts: list[dict[str, Any]] = [
        {
            "k": "boot",
            "image": "rescue",
            "medium": "disk",
            "build": "1",
            "up": "9",
            "firmware": "bios",
            "boot_id": boot_id,
        },
        {"k": "disk", "name": "vda", "path": "pci0000:00/0000:00:03.0/virtio1/block"}
        | {"serial": "one", "size": 1 << 20, "head": "00000000", **disk},
    ]
    lines = [json.dumps(fact) for fact in facts]
    return "".join(
        f"LAB1 1 {number} {len(lines)} {len(line)} {line}\n"
        for number, line in enumerate(lines, 1)
    )


class FakeServersClient:
    """Returns or raises one console output after the other, the last one for ever."""

    def __init__(self, *outputs: str | Exception) -> None:
        self.outputs = list(outputs)

    def get_console_output(self, server: str) -> dict[str, str]:
        output = self.outputs.pop(0) if len(self.outputs) > 1 else self.outputs[0]
        if isinstance(output, Exception):
            raise output
        return {"output": output}


@mock.patch.object(readers, "POLL_SECONDS", 0.0)
class ConsoleReaderTest(unittest.TestCase):
    def reader(self, *outputs: str | Exception) -> readers.ConsoleReader:
        return readers.ConsoleReader(FakeServersClient(*outputs), timeout=0.2)

    def test_read_waits_for_console_and_inventory(self) -> None:
        reader = self.reader(exceptions.NotFound(), "", "BIOS", console("a"))
        self.assertEqual("a", reader.read("s").boot_id)

    def test_read_with_previous_boot_waits_for_next_boot(self) -> None:
        reader = self.reader(console("a"), console("a"), console("b"))
        self.assertEqual("b", reader.read("s", previous_boot="a").boot_id)

    def test_read_with_condition_waits_until_met(self) -> None:
        reader = self.reader(console("a"), console("a", label="new"))
        guest = reader.read("s", condition=lambda guest: guest.disks[0].label == "new")
        self.assertEqual("new", guest.disks[0].label)

    def test_read_without_next_boot_times_out(self) -> None:
        reader = self.reader(console("a"))
        with self.assertRaisesRegex(exceptions.TimeoutException, "did not see a disk"):
            reader.read("s", previous_boot="a", action="see a disk")

    def test_markers_come_from_disks_of_volumes(self) -> None:
        reader = self.reader("")
        rescued = self.reader(console("a", wrote="rescue a vda")).read("s")
        after = self.reader(console("b", found="rescue a vda")).read("s")
        volumes = ["one-and-more", "two"]
        markers = {"one-and-more": "rescue a vda"}
        disks = readers.disks_of(volumes, rescued)
        self.assertEqual(markers, reader.write_markers("s", disks, "a"))
        disks = readers.disks_of(volumes, after)
        self.assertEqual(markers, reader.read_markers("s", disks))

    def test_password_is_compared_with_its_sha256(self) -> None:
        reader = self.reader("")
        digest = hashlib.sha256(b"secret").hexdigest()
        guest = self.reader(console("a", password=digest)).read("s")
        self.assertTrue(reader.has_password("s", guest, "secret"))
        self.assertFalse(reader.has_password("s", guest, "other"))


class SshReaderTest(unittest.TestCase):
    def reader(self, exec_command: Any) -> readers.SshReader:
        client = self.enterContext(
            mock.patch.object(readers.remote_client, "RemoteClient")
        )
        client.return_value.exec_command.side_effect = exec_command
        return readers.SshReader(
            mock.sentinel.servers, 0.2, lambda server: {"ip_address": "192.0.2.1"}
        )

    def test_poll_of_unreachable_guest_returns_none(self) -> None:
        for error in (
            exceptions.SSHTimeout(host="h", user="u", password="p"),
            exceptions.SSHExecCommandFailed(
                command="c", exit_status=1, stderr="", stdout=""
            ),
        ):
            self.assertIsNone(self.reader(error).poll("s"))

    def test_markers_are_written_to_disks_of_volumes_only(self) -> None:
        commands: list[str] = []

        def exec_command(command: str) -> str:
            commands.append(command)
            return "6f2c-vdb\n\0\0" if " if=" in command else ""

        reader = self.reader(exec_command)
        guest = Inventory(
            sequence=1,
            image="",
            build="",
            medium="",
            firmware="bios",
            uptime=1.0,
            devices=(
                Device("disk", "a", name="vda", serial=""),
                Device("disk", "b", name="vdb", serial="one"),
            ),
            boot_facts={},
            boot_id="6f2c",
        )
        disks = readers.disks_of(["one"], guest)
        markers = reader.write_markers("s", disks, guest.boot_id)
        self.assertEqual({"one": "6f2c-vdb"}, markers)
        self.assertEqual(markers, reader.read_markers("s", disks))
        self.assertEqual(2, len(commands))
