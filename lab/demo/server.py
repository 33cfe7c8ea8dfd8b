# SPDX-License-Identifier: Apache-2.0
"""The server of the demo, through OpenStack's API, and what its guest prints."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from openstack.connection import Connection

from lab.config import Lab
from lab.errors import LabError
from lab.services import volume_backends
from lab.services.libvirtd import URI
from stable_rescue.tempest.guest import inventory
from stable_rescue.tempest.guest.inventory import Inventory

T = TypeVar("T")

# Software emulation: Nova's own USB rescue takes 80 to 200 seconds (UPSTREAM U33).
BOOT_SECONDS = 480.0
API_SECONDS = 180.0
POLL_SECONDS = 0.5


def poll(what: str, probe: Callable[[], T | None], seconds: float) -> T:
    """Return the first answer of ``probe`` that is not None.

    :raises LabError: where there is none within ``seconds``
    """
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if found is not None:
            return found
        if time.monotonic() > deadline:
            raise LabError(f"no {what} within {seconds:.0f} seconds")
        time.sleep(POLL_SECONDS)


class DemoServer:
    """One server; ``undo`` takes what removes the images and volumes for it."""

    def __init__(
        self, lab: Lab, cloud: Connection, undo: contextlib.ExitStack, name: str
    ) -> None:
        self.lab, self.cloud, self.undo, self.name = lab, cloud, undo, name
        self.types = [backend.volume_type for backend in volume_backends(lab)]
        self.server: Any = None

    # -- making -------------------------------------------------------------------

    def image(self, path: Path, **properties: str) -> str:
        """Upload an image, of the format of its suffix; return its id."""
        image = self.cloud.image.create_image(
            name=self.name,
            filename=str(path),
            disk_format=path.suffix[1:],
            container_format="bare",
            allow_duplicates=True,
            **properties,
        )
        self.undo.callback(self.cloud.image.delete_image, image.id)
        return str(image.id)

    def rescue_image(self, path: Path, device: str, bus: str) -> str:
        """Upload an image to be rescued from; return its id."""
        properties = {"hw_rescue_device": device}
        if bus:
            properties["hw_rescue_bus"] = bus
        return self.image(path, **properties)

    @contextlib.contextmanager
    def booted(self, image: str) -> Iterator[None]:
        """Boot the server with root, ephemeral, swap, config drive and one port.

        It is deleted at the end, before the volumes that it has.
        """
        with self._booted("lab.full", image_id=image):
            yield

    @contextlib.contextmanager
    def booted_from(
        self, source: str, uuid: str, volumes: Iterable[Any]
    ) -> Iterator[None]:
        """Boot the server with two ephemeral disks and volumes, else as ``booted``.

        :param source: what its root is made from: an ``image`` or a ``volume``
        """
        root = {
            "boot_index": 0,
            "uuid": uuid,
            "source_type": source,
            "destination_type": "local" if source == "image" else source,
            "delete_on_termination": source == "image",
        }
        blank = {
            "boot_index": -1,
            "source_type": "blank",
            "destination_type": "local",
            "delete_on_termination": True,
        }
        swap = {**blank, "guest_format": "swap", "volume_size": 64}
        ephemeral = {**blank, "volume_size": 1}
        attached = [
            {
                "boot_index": -1,
                "uuid": volume.id,
                "source_type": "volume",
                "destination_type": "volume",
                "delete_on_termination": False,
            }
            for volume in volumes
        ]
        disks = [root, ephemeral, ephemeral, swap, *attached]
        # An image has to be named twice.
        image = {"image_id": uuid} if source == "image" else {}
        with self._booted("lab.storage", block_device_mapping=disks, **image):
            yield

    @contextlib.contextmanager
    def _booted(self, flavor: str, **source: Any) -> Iterator[None]:
        network: Any = "none"
        if self.lab.options.network:
            network = [{"uuid": self.cloud.network.find_network("lab").id}]
        self.server = self.cloud.compute.create_server(
            name=self.name,
            flavor_id=self.cloud.compute.find_flavor(flavor).id,
            networks=network,
            config_drive=True,
            **source,
        )
        try:
            self.cloud.compute.wait_for_server(self.server, wait=API_SECONDS)
            yield
        finally:
            self.cloud.compute.delete_server(self.server)
            self.cloud.compute.wait_for_delete(self.server, wait=API_SECONDS)

    def volume(self, kind: str, image: str | None = None) -> Any:
        """Return a new volume of a type: empty, or made from an image."""
        return self.volumes([kind], image)[0]

    def volumes(self, kinds: Iterable[str], image: str | None = None) -> list[Any]:
        """Return new volumes, one of each type that is named."""
        storage, made = self.cloud.block_storage, []
        for kind in kinds:
            made.append(
                storage.create_volume(
                    size=1, volume_type=kind, name=self.name, image_id=image
                )
            )
            self.undo.callback(self._delete_volume, made[-1])
        return [
            storage.wait_for_status(volume, "available", wait=API_SECONDS)
            for volume in made
        ]

    def attach(self, volume: Any) -> None:
        """Attach a volume and wait until the guest sees it."""
        seen = len(self.inventory().disks)
        self.cloud.compute.create_volume_attachment(self.server, volume_id=volume.id)
        self.cloud.block_storage.wait_for_status(volume, "in-use", wait=API_SECONDS)
        self.wait_for(f"disk {seen + 1}", lambda guest: len(guest.disks) == seen + 1)

    def detach(self, volume: Any) -> None:
        """Detach a volume and wait until the guest has let it go."""
        seen = len(self.inventory().disks)
        self.cloud.compute.delete_volume_attachment(self.server, volume)
        self.cloud.block_storage.wait_for_status(volume, "available", wait=API_SECONDS)
        self.wait_for("unplug", lambda guest: len(guest.disks) == seen - 1)

    def plug(self) -> None:
        """Plug one more port and wait until the guest sees it."""
        seen = len(self.inventory().of_kind("nic"))
        network = self.cloud.network.find_network("lab-more")
        self.cloud.compute.create_server_interface(self.server, net_id=network.id)
        self.wait_for("NIC", lambda guest: len(guest.of_kind("nic")) == seen + 1)

    # -- states -------------------------------------------------------------------

    def cold_boot(self) -> None:
        """Shut the guest down and start its definition by libvirt, as it is.

        Names follow PCI order at a cold boot (LIBVIRT F7). Nova does not rebuild the
        server: it waits 15 seconds before it believes that a guest has stopped.
        """
        domain = self.server_now().instance_name
        self.virsh("shutdown", domain)
        with contextlib.suppress(LabError):
            poll("shutdown", lambda: self._shut_off(domain) or None, 10)
        if not self._shut_off(domain):
            self.virsh("destroy", domain)
        self.virsh("start", domain)

    def rescue(self, image: str, password: str | None = None) -> None:
        """Rescue with the standard command.

        :raises LabError: where the server is not in RESCUE then, with Nova's reason
        """
        words = ["--password", password] if password else []
        self._openstack("server", "rescue", "--image", image, *words, self.server.id)
        self._wait_for_status("RESCUE")

    def unrescue(self) -> None:
        """Unrescue with the standard command."""
        self._openstack("server", "unrescue", self.server.id)
        self._wait_for_status("ACTIVE")

    def server_now(self) -> Any:
        """Return the server as the API shows it now."""
        return self.cloud.compute.get_server(self.server)

    # -- the guest ----------------------------------------------------------------

    def inventory(self) -> Inventory:
        """Return the guest's latest inventory, as soon as there is one."""
        return self.wait_for("inventory", lambda guest: True)

    def wait_for(self, what: str, wanted: Callable[[Inventory], bool]) -> Inventory:
        """Return the guest's first inventory that is as ``wanted``."""

        def probe() -> Inventory | None:
            answer = self.cloud.compute.get_server_console_output(self.server)
            found = inventory.last(answer["output"] or "")
            return found if found and wanted(found) else None

        return poll(f"{what} on the guest's console", probe, BOOT_SECONDS)

    def virsh(self, *words: str) -> str:
        """Run virsh; return what it printed."""
        return subprocess.run(
            ["virsh", "--connect", URI, *words],
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    # -- inner --------------------------------------------------------------------

    def _shut_off(self, domain: str) -> bool:
        return self.virsh("domstate", domain).strip() == "shut off"

    def _openstack(self, *words: str) -> None:
        # Below 2.87 the API refuses to rescue a server whose root is a volume.
        version = ["--os-compute-api-version", self.cloud.compute.default_microversion]
        subprocess.run([self.lab.bin("openstack"), *version, *words], check=True)

    def _wait_for_status(self, status: str) -> None:
        """Wait until Nova has done what it was asked for.

        The API has set the task state before it answers.
        """

        def probe() -> Any:
            server = self.server_now()
            return server if server.task_state is None else None

        server = poll("end of the task", probe, API_SECONDS)
        if server.status != status:
            why = (server.fault or {}).get("message") or self._reason()
            raise LabError(f"the server is in status {server.status}: {why}")

    def _reason(self) -> str:
        """Return what the events of the latest action that failed say."""
        for action in self.cloud.compute.server_actions(self.server):
            if action.message:
                detail = self.cloud.compute.get_server_action(action, self.server)
                told = [event.details for event in detail.events if event.details]
                return told[-1] if told else str(action.message)
        return "no reason given"

    def _delete_volume(self, volume: Any) -> None:
        volumes = self.cloud.block_storage
        volumes.wait_for_status(volume, "available", wait=API_SECONDS)
        volumes.delete_volume(volume)
