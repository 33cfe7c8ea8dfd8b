# SPDX-License-Identifier: Apache-2.0
"""How a test learns what the guest of a server sees, and has it write to its disks."""

from __future__ import annotations

import abc
import hashlib
import time
from collections.abc import Callable
from typing import Any

from tempest.lib import exceptions
from tempest.lib.common.utils.linux import remote_client

from stable_rescue.tempest.guest import inventory, linux
from stable_rescue.tempest.guest.inventory import Device, Inventory

POLL_SECONDS = 1.0
LATEST_CHARACTERS = 1000

#: Volumes by id, as the guest sees them.
Disks = dict[str, Device]


def disks_of(volumes: list[str], seen: Inventory) -> Disks:
    """Return the disk of each volume, known by its serial, which virtio cuts off."""
    return {
        volume: disk
        for volume in volumes
        for disk in seen.disks
        if disk.serial and volume.startswith(disk.serial)
    }


class Reader(abc.ABC):
    """Reads the guests of one project's servers.

    :param timeout: seconds within which a guest has booted and can be read
    """

    def __init__(self, servers_client: Any, timeout: float) -> None:
        self.servers_client = servers_client
        self.timeout = timeout
        #: The end of what was read last, for whoever looks into a failure.
        self.said = ""

    @abc.abstractmethod
    def look(self, server: str) -> Inventory | None:
        """Return what the guest of a server sees now; None before it has booted."""

    @abc.abstractmethod
    def mark(self, server: str, disks: Disks, boot: str) -> dict[str, str]:
        """Have the guest write a line to each disk; return the lines.

        :param boot: its boot id, to tell its lines from others'
        """

    @abc.abstractmethod
    def marks(self, server: str, disks: Disks) -> dict[str, str]:
        """Return the line that each disk had when the guest booted."""

    @abc.abstractmethod
    def has_password(self, server: str, rescued: Inventory, password: str) -> bool:
        """Return whether it is the adminPass of the config drive that a guest has."""

    def read(
        self,
        server: str,
        not_boot: str = "",
        wanted: Callable[[Inventory], bool] = lambda guest: True,
        what: str = "booted",
    ) -> Inventory:
        """Return what a guest sees, as soon as that is as ``wanted``.

        :param not_boot: the boot id of another boot of the server, which is over
        :raises tempest.lib.exceptions.TimeoutException: where it does not come to that
        """
        deadline = time.monotonic() + self.timeout
        while True:
            found = self.look(server)
            if found and found.boot_id != not_boot and wanted(found):
                return found
            if time.monotonic() > deadline:
                latest = found or repr(self.said)
                raise exceptions.TimeoutException(
                    f"the guest of server {server} has not {what} within"
                    f" {self.timeout:.0f} seconds; its latest word: {latest}"
                )
            time.sleep(POLL_SECONDS)


class ConsoleReader(Reader):
    """Reads the console log, to which the lab's guests print all that they see.

    Nobody can tell such a guest to write: those of marking images do it on their own,
    once a boot, and say what they wrote and found.
    """

    def look(self, server: str) -> Inventory | None:
        try:
            answer = self.servers_client.get_console_output(server)
        except (exceptions.NotFound, exceptions.Conflict):
            return None  # no console yet
        console = answer["output"] or ""
        self.said = console[-LATEST_CHARACTERS:]
        return inventory.last(console)

    def mark(self, server: str, disks: Disks, boot: str) -> dict[str, str]:
        return {volume: disk.marker_written for volume, disk in disks.items()}

    def marks(self, server: str, disks: Disks) -> dict[str, str]:
        return {volume: disk.marker_read for volume, disk in disks.items()}

    def has_password(self, server: str, rescued: Inventory, password: str) -> bool:
        digest = hashlib.sha256(password.encode()).hexdigest()
        return digest in [disk.password_sha256 for disk in rescued.disks]


class SshReader(Reader):
    """Runs commands over ssh.

    :param connect: returns how to reach a server: the arguments of tempest's client
    """

    def __init__(
        self,
        servers_client: Any,
        timeout: float,
        connect: Callable[[str], dict[str, Any]],
    ) -> None:
        super().__init__(servers_client, timeout)
        self.connect = connect

    def look(self, server: str) -> Inventory | None:
        try:
            return linux.read(self._runner(server))
        except (exceptions.SSHTimeout, exceptions.SSHExecCommandFailed):
            return None  # not up yet

    def mark(self, server: str, disks: Disks, boot: str) -> dict[str, str]:
        run = self._runner(server)
        lines = {volume: f"{boot}-{disk.name}" for volume, disk in disks.items()}
        for volume, disk in disks.items():
            linux.write_marker(run, disk.name, lines[volume])
        return lines

    def marks(self, server: str, disks: Disks) -> dict[str, str]:
        run = self._runner(server)
        return {
            volume: linux.read_marker(run, disk.name) for volume, disk in disks.items()
        }

    def has_password(self, server: str, rescued: Inventory, password: str) -> bool:
        return linux.admin_password(self._runner(server)) == password

    def _runner(self, server: str) -> linux.Run:
        # Each boot has host keys of its own: a connection is for one reading.
        client = remote_client.RemoteClient(
            **self.connect(server),
            servers_client=self.servers_client,
            ssh_timeout=POLL_SECONDS * 10,
        )
        run: linux.Run = client.exec_command
        return run
