# SPDX-License-Identifier: Apache-2.0
"""How a test reads the devices of a guest, and has the guest write to its disks."""

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
SSH_SECONDS = 10.0
#: The part of a console log that an error message shows.
TAIL_CHARACTERS = 1000

#: The disks that a guest sees of some volumes, by volume id.
Disks = dict[str, Device]


def disks_of(volumes: list[str], guest: Inventory) -> Disks:
    """Return the disk of each volume that a guest sees.

    The serial of a disk is the id of its volume, which virtio truncates.
    """
    return {
        volume: disk
        for volume in volumes
        for disk in guest.disks
        if disk.serial and volume.startswith(disk.serial)
    }


class Reader(abc.ABC):
    """Reads the guests of one project's servers.

    :param timeout: seconds to wait until a guest has booted and can be read
    """

    def __init__(self, servers_client: Any, timeout: float) -> None:
        self.servers_client = servers_client
        self.timeout = timeout
        #: The end of the output that was read last, for error messages.
        self.last_output = ""

    @abc.abstractmethod
    def poll(self, server: str) -> Inventory | None:
        """Return what the guest sees now, or None if the guest cannot be read yet."""

    @abc.abstractmethod
    def write_markers(self, server: str, disks: Disks, boot_id: str) -> dict[str, str]:
        """Have the guest write a line to each disk; return the lines by volume id.

        :param boot_id: the guest's boot id, which makes its lines unique
        """

    @abc.abstractmethod
    def read_markers(self, server: str, disks: Disks) -> dict[str, str]:
        """Return the line that each disk had when the guest booted, by volume id."""

    @abc.abstractmethod
    def has_password(self, server: str, rescued: Inventory, password: str) -> bool:
        """Return True if the guest's config drive has this adminPass."""

    def read(
        self,
        server: str,
        previous_boot: str = "",
        condition: Callable[[Inventory], bool] = lambda guest: True,
        action: str = "boot",
    ) -> Inventory:
        """Wait until a guest meets a condition; return what the guest sees then.

        :param previous_boot: the id of an earlier boot, which is not read again
        :param action: what the guest has to do, for the error message
        :raises tempest.lib.exceptions.TimeoutException: if the guest does not meet the
            condition in time
        """
        deadline = time.monotonic() + self.timeout
        while True:
            guest = self.poll(server)
            if guest and guest.boot_id != previous_boot and condition(guest):
                return guest
            if time.monotonic() > deadline:
                raise exceptions.TimeoutException(
                    f"The guest of server {server} did not {action} within"
                    f" {self.timeout:.0f} seconds. Last read:"
                    f" {guest or repr(self.last_output)}"
                )
            time.sleep(POLL_SECONDS)


class ConsoleReader(Reader):
    """Reads the console log, to which the lab's guests print their inventory.

    These guests take no commands. Guests of the marking images write a marker to each
    disk at every boot, and print the marker that they wrote and the one they found.
    """

    def poll(self, server: str) -> Inventory | None:
        try:
            response = self.servers_client.get_console_output(server)
        except (exceptions.NotFound, exceptions.Conflict):
            return None  # The server has no console yet.
        console = response["output"] or ""
        self.last_output = console[-TAIL_CHARACTERS:]
        return inventory.last(console)

    def write_markers(self, server: str, disks: Disks, boot_id: str) -> dict[str, str]:
        return {volume: disk.marker_written for volume, disk in disks.items()}

    def read_markers(self, server: str, disks: Disks) -> dict[str, str]:
        return {volume: disk.marker_read for volume, disk in disks.items()}

    def has_password(self, server: str, rescued: Inventory, password: str) -> bool:
        digest = hashlib.sha256(password.encode()).hexdigest()
        return digest in [disk.password_sha256 for disk in rescued.disks]


class SshReader(Reader):
    """Runs commands over ssh.

    :param connection_arguments: returns the arguments of tempest's ssh client for a
        server
    """

    def __init__(
        self,
        servers_client: Any,
        timeout: float,
        connection_arguments: Callable[[str], dict[str, Any]],
    ) -> None:
        super().__init__(servers_client, timeout)
        self.connection_arguments = connection_arguments

    def poll(self, server: str) -> Inventory | None:
        try:
            return linux.read(self._connect(server))
        except (exceptions.SSHTimeout, exceptions.SSHExecCommandFailed):
            return None  # The guest is not up yet.

    def write_markers(self, server: str, disks: Disks, boot_id: str) -> dict[str, str]:
        run = self._connect(server)
        markers = {volume: f"{boot_id}-{disk.name}" for volume, disk in disks.items()}
        for volume, disk in disks.items():
            linux.write_marker(run, disk.name, markers[volume])
        return markers

    def read_markers(self, server: str, disks: Disks) -> dict[str, str]:
        run = self._connect(server)
        return {
            volume: linux.read_marker(run, disk.name) for volume, disk in disks.items()
        }

    def has_password(self, server: str, rescued: Inventory, password: str) -> bool:
        return linux.admin_password(self._connect(server)) == password

    def _connect(self, server: str) -> linux.Run:
        # The original and the rescue system have different host keys, so no connection
        # outlives one reading.
        client = remote_client.RemoteClient(
            **self.connection_arguments(server),
            servers_client=self.servers_client,
            ssh_timeout=SSH_SECONDS,
        )
        run: linux.Run = client.exec_command
        return run
