# SPDX-License-Identifier: Apache-2.0
"""The server of a scene, through OpenStack's API, and what its guest prints."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from lab.errors import LabError
from lab.servers import factory as disks
from lab.servers.api import API_SECONDS, BOOT_SECONDS, poll
from lab.servers.factory import ServerFactory
from lab.servers.host import Host
from stable_rescue.tempest.guest import inventory
from stable_rescue.tempest.guest.inventory import Inventory

SHUTDOWN_SECONDS = 10


class DemoServer:
    """One server. ``factory`` makes the images and volumes for it."""

    def __init__(self, factory: ServerFactory) -> None:
        self.factory = factory
        self.lab, self.cloud = factory.lab, factory.cloud
        self.host = Host(factory.lab)
        self.server: Any = None

    # -- making -------------------------------------------------------------------

    @contextlib.contextmanager
    def booted(self, image: str) -> Iterator[None]:
        """Boot with root, ephemeral and swap disk, config drive and one port.

        The server is deleted at the end, before its volumes.
        """
        with self._running(self.factory.server("lab.full", image=image)):
            yield

    @contextlib.contextmanager
    def booted_with(
        self, root: dict[str, Any], volumes: Iterable[Any]
    ) -> Iterator[None]:
        """Boot with a second ephemeral disk and volumes; else the same as ``booted``.

        :param root: the root disk, as image_disk() or volume_disk() returns it
        """
        mapping = [
            root,
            *(disks.ephemeral_disk(), disks.ephemeral_disk(), disks.swap_disk()),
            *(disks.volume_disk(volume.id) for volume in volumes),
        ]
        image = root["uuid"] if root["source_type"] == "image" else None
        server = self.factory.server("lab.storage", image=image, disks=mapping)
        with self._running(server):
            yield

    @contextlib.contextmanager
    def _running(self, server: Any) -> Iterator[None]:
        self.server = server
        try:
            self.cloud.compute.wait_for_server(server, wait=API_SECONDS)
            yield
        finally:
            self.factory.delete(server)

    # -- plugging -----------------------------------------------------------------

    def attach(self, volume: Any) -> None:
        """Attach a volume and wait until the guest sees it."""
        count = len(self.inventory().disks) + 1
        self.cloud.compute.create_volume_attachment(self.server, volume_id=volume.id)
        self.cloud.block_storage.wait_for_status(volume, "in-use", wait=API_SECONDS)
        self.wait_for(f"disk {count}", lambda guest: len(guest.disks) == count)

    def detach(self, volume: Any) -> None:
        """Detach a volume and wait until the guest has released it."""
        count = len(self.inventory().disks) - 1
        self.cloud.compute.delete_volume_attachment(self.server, volume)
        self.cloud.block_storage.wait_for_status(volume, "available", wait=API_SECONDS)
        self.wait_for("the unplug", lambda guest: len(guest.disks) == count)

    def plug(self) -> None:
        """Plug one more port and wait until the guest sees it."""
        count = len(self.inventory().of_kind("nic")) + 1
        network = self.cloud.network.find_network("lab-more")
        self.cloud.compute.create_server_interface(self.server, net_id=network.id)
        self.wait_for("a new NIC", lambda guest: len(guest.of_kind("nic")) == count)

    # -- states -------------------------------------------------------------------

    def cold_boot(self) -> None:
        """Shut the guest down and let libvirt start the same definition.

        Names in the guest follow PCI order at a cold boot (F31). libvirt starts
        the guest, because Nova waits 15 seconds before it believes that a guest is off.
        """
        domain = self.show().instance_name
        self.host.virsh("shutdown", domain)
        with contextlib.suppress(LabError):
            poll("the shutdown", lambda: self._is_off(domain) or None, SHUTDOWN_SECONDS)
        if not self._is_off(domain):
            self.host.virsh("destroy", domain)
        self.host.virsh("start", domain)

    def rescue(self, image: str, password: str | None = None) -> None:
        """Rescue with the command that a user would run.

        :raises LabError: with Nova's reason, if the server does not reach RESCUE
        """
        words = ["--password", password] if password else []
        self._openstack("server", "rescue", "--image", image, *words, self.server.id)
        self._wait_for_status("RESCUE")

    def unrescue(self, status: str = "ACTIVE") -> None:
        """Unrescue with the command that a user would run.

        :param status: of the server afterwards
        :raises LabError: with Nova's reason, if the server does not reach the status
        """
        self._openstack("server", "unrescue", self.server.id)
        self._wait_for_status(status)

    def stop(self) -> None:
        """Stop the server.

        :raises LabError: with Nova's reason, if the server does not reach SHUTOFF
        """
        self._openstack("server", "stop", self.server.id)
        self._wait_for_status("SHUTOFF")

    def start(self) -> None:
        """Start the server.

        :raises LabError: with Nova's reason, if the server does not reach ACTIVE
        """
        self._openstack("server", "start", self.server.id)
        self._wait_for_status("ACTIVE")

    def start_hard(self) -> None:
        """Start a guest that is off, although the server may be in status ACTIVE.

        :raises LabError: with Nova's reason, if the server does not reach ACTIVE
        """
        self._openstack("server", "reboot", "--hard", self.server.id)
        self._wait_for_status("ACTIVE")

    def show(self) -> Any:
        """Return the server as the API shows it now."""
        return self.cloud.compute.get_server(self.server)

    def wait_for_task(self) -> Any:
        """Return the server when Nova has finished what it was asked for.

        :raises LabError: if that takes too long
        """

        def probe() -> Any:
            server = self.show()
            return server if server.task_state is None else None

        # The API sets the task state before it answers, so no task can be missed.
        return poll("the end of the task", probe, API_SECONDS)

    # -- the guest ----------------------------------------------------------------

    def inventory(self) -> Inventory:
        """Return the guest's latest inventory, as soon as there is one."""
        return self.wait_for("an inventory", lambda guest: True)

    def wait_for(self, what: str, wanted: Callable[[Inventory], bool]) -> Inventory:
        """Return the guest's latest inventory, once ``wanted`` returns True for it.

        :raises LabError: if the guest prints no such inventory
        """

        def probe() -> Inventory | None:
            answer = self.cloud.compute.get_server_console_output(self.server)
            latest = inventory.last(answer["output"] or "")
            return latest if latest and wanted(latest) else None

        return poll(f"{what} on the guest's console", probe, BOOT_SECONDS)

    # -- internal -----------------------------------------------------------------

    def _is_off(self, domain: str) -> bool:
        return self.host.virsh("domstate", domain).strip() == "shut off"

    def _openstack(self, *words: str) -> None:
        version = ["--os-compute-api-version", self.cloud.compute.default_microversion]
        subprocess.run([self.lab.bin("openstack"), *version, *words], check=True)

    def _wait_for_status(self, status: str) -> None:
        server = self.wait_for_task()
        if server.status != status:
            reason = (server.fault or {}).get("message") or self._reason()
            raise LabError(f"the server is in status {server.status}: {reason}")

    def _reason(self) -> str:
        """Return the reason of the latest failed action, from its events."""
        for action in self.cloud.compute.server_actions(self.server):
            if action.message:
                detail = self.cloud.compute.get_server_action(action, self.server)
                reasons = [event.details for event in detail.events if event.details]
                return reasons[-1] if reasons else str(action.message)
        return "no reason given"
