# SPDX-License-Identifier: Apache-2.0
"""How a test waits for a guest, and what it takes for an answer."""

from __future__ import annotations

import hashlib
import json
import unittest
from typing import Any
from unittest import mock

from tempest.lib import exceptions

from stable_rescue.tempest import readers


def console(boot: str, **disk: str) -> str:
    facts: list[dict[str, Any]] = [
        {
            "k": "boot",
            "image": "rescue",
            "medium": "disk",
            "build": "1",
            "up": "9",
            "firmware": "bios",
            "boot_id": boot,
        },
        {"k": "disk", "name": "vda", "path": "pci0000:00/0000:00:03.0/virtio1/block"}
        | {"serial": "one", "size": 1 << 20, "head": "00000000", **disk},
    ]
    lines = [json.dumps(fact) for fact in facts]
    return "".join(
        f"LAB1 1 {number} {len(lines)} {len(line)} {line}\n"
        for number, line in enumerate(lines, 1)
    )


class Servers:
    """A compute API whose server's console says one thing after the other."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)

    def get_console_output(self, server: str) -> dict[str, str]:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return {"output": answer}


@mock.patch.object(readers, "POLL_SECONDS", 0.0)
class ConsoleReaderTest(unittest.TestCase):
    def read(self, servers: Servers, **more: Any) -> readers.Inventory:
        return readers.ConsoleReader(servers, timeout=0.2).read("s", **more)

    def test_waits_until_there_is_a_console_and_an_inventory(self) -> None:
        servers = Servers(exceptions.NotFound(), "", "BIOS", console("a"))
        self.assertEqual("a", self.read(servers).boot_id)

    def test_waits_for_another_boot(self) -> None:
        servers = Servers(console("a"), console("a"), console("b"))
        self.assertEqual("b", self.read(servers, not_boot="a").boot_id)

    def test_waits_for_what_is_wanted(self) -> None:
        servers = Servers(console("a"), console("a", label="new"))
        seen = self.read(servers, wanted=lambda guest: guest.disks[0].label == "new")
        self.assertEqual("new", seen.disks[0].label)

    def test_gives_up(self) -> None:
        with self.assertRaisesRegex(exceptions.TimeoutException, "a new disk"):
            self.read(Servers(console("a")), not_boot="a", what="a new disk")

    def test_markers_are_those_of_the_disks_asked_for(self) -> None:
        reader = readers.ConsoleReader(Servers(""), timeout=0.2)
        rescued = self.read(Servers(console("a", wrote="rescue a vda")))
        after = self.read(Servers(console("b", found="rescue a vda")))
        marks = {"one-and-more": "rescue a vda"}
        volumes = ["one-and-more", "two"]
        disks = readers.disks_of(volumes, rescued)
        self.assertEqual(marks, reader.mark("s", disks, "a"))
        disks = readers.disks_of(volumes, after)
        self.assertEqual(marks, reader.marks("s", disks))

    def test_password_is_compared_by_its_hash(self) -> None:
        reader = readers.ConsoleReader(Servers(""), timeout=0.2)
        digest = hashlib.sha256(b"secret").hexdigest()
        seen = self.read(Servers(console("a", password=digest)))
        self.assertTrue(reader.has_password("s", seen, "secret"))
        self.assertFalse(reader.has_password("s", seen, "other"))


class SshReaderTest(unittest.TestCase):
    def reader(self, run: Any) -> readers.SshReader:
        client = mock.patch.object(readers.remote_client, "RemoteClient")
        self.addCleanup(client.stop)
        client.start().return_value.exec_command.side_effect = run
        return readers.SshReader(
            mock.sentinel.servers, 0.2, lambda server: {"ip_address": "192.0.2.1"}
        )

    def test_a_guest_that_is_not_up_has_nothing_to_say(self) -> None:
        for error in (
            exceptions.SSHTimeout(host="h", user="u", password="p"),
            exceptions.SSHExecCommandFailed(
                command="c", exit_status=1, stderr="", stdout=""
            ),
        ):
            self.assertIsNone(self.reader(error).look("s"))

    def test_markers_go_to_the_disks_asked_for(self) -> None:
        ran: list[str] = []

        def run(command: str) -> str:
            ran.append(command)
            return "6f2c-vdb\n\0\0" if " if=" in command else ""

        reader = self.reader(run)
        disks = (
            readers.inventory.Device("disk", "a", name="vda", serial=""),
            readers.inventory.Device("disk", "b", name="vdb", serial="one"),
        )
        seen = readers.Inventory(
            sequence=1,
            image="",
            build="",
            medium="",
            firmware="bios",
            uptime=1.0,
            devices=disks,
            boot_facts={},
            boot_id="6f2c",
        )
        found = readers.disks_of(["one"], seen)
        written = reader.mark("s", found, seen.boot_id)
        self.assertEqual({"one": "6f2c-vdb"}, written)
        self.assertEqual(written, reader.marks("s", found))
        self.assertEqual(2, len(ran))
