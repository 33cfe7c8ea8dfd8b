# SPDX-License-Identifier: Apache-2.0
"""A server that chaos rescues while services die, and what is known about it."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from keystoneauth1.exceptions import ClientException
from openstack.connection import Connection
from openstack.exceptions import SDKException, raise_from_response

from lab.chaos.judge import View
from lab.chaos.marks import Marks
from lab.errors import LabError
from lab.servers import factory as disks
from lab.servers.api import API_SECONDS, BOOT_SECONDS, poll
from lab.servers.factory import ServerFactory
from lab.servers.host import Host
from stable_rescue.tempest.guest import inventory
from stable_rescue.tempest.guest.inventory import Inventory

#: Lists attachments with their instances; every release that the lab supports has it.
VOLUME_MICROVERSION = "3.44"
#: A guest gets this long to shut down. One that is still booting ignores the request.
SHUTDOWN_SECONDS = 3
#: How long a server may stay busy after the killed service is back.
IDLE_SECONDS = 180.0
VIEW_SECONDS = 60.0


class ChaosServer:
    """One server, the marks on its disks, and its state before anything was killed."""

    original: View
    marks: Marks
    inventory: Inventory

    def __init__(self, cloud: Connection, host: Host, name: str, image: str) -> None:
        self.cloud, self.host, self.name, self.rescue_image = cloud, host, name, image
        self.id = self.domain = ""
        #: How long an undisturbed rescue and unrescue take, by action.
        self.seconds: dict[str, float] = {}

    # -- through the API ----------------------------------------------------------

    def show(self) -> dict[str, Any]:
        """Return the server as the API shows it.

        Errors of the API propagate.
        """
        answer = self.cloud.compute.get(f"/servers/{self.id}")
        raise_from_response(answer)
        return answer.json()["server"]  # type: ignore[no-any-return]

    def act(self, action: str, **details: str) -> None:
        """Request an action.

        :raises LabError: with the API's reason, if it refuses
        """
        answer = self.cloud.compute.post(
            f"/servers/{self.id}/action", json={action: details or None}
        )
        if not answer.ok:
            raise LabError(f"{action}: HTTP {answer.status_code} {answer.text[:300]}")

    def request(self, action: str) -> None:
        """Request ``rescue`` or ``unrescue``.

        :raises LabError: with the API's reason, if it refuses
        """
        details = {"rescue_image_ref": self.rescue_image} if action == "rescue" else {}
        self.act(action, **details)

    def wait_until_idle(self, seconds: float = IDLE_SECONDS) -> dict[str, Any]:
        """Return the server when nothing is being done to it, or after ``seconds``.

        A server in ERROR counts as busy. A server that has the record of a rescue but
        is not in RESCUE counts as busy too. nova-compute tries to recover both.

        :raises LabError: if the API does not answer
        """
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(ClientException, SDKException):
                server = self.show()
                late = time.monotonic() > deadline
                busy = (
                    server["OS-EXT-STS:task_state"]
                    or server["status"] == "ERROR"
                    or (server["status"] != "RESCUE" and self.host.has_record(self.id))
                )
                if not busy or late:
                    return server
            if time.monotonic() > deadline + API_SECONDS:
                raise LabError(f"The API does not answer for {self.name}.")
            time.sleep(0.3)

    def reach(self, status: str, seconds: float = IDLE_SECONDS) -> float:
        """Wait for a status; return how many seconds that took.

        :raises LabError: if the server gets another status
        """
        began = time.monotonic()
        server = self.wait_until_idle(seconds)
        if server["status"] != status:
            fault = server.get("fault", {}).get("message", "no fault is recorded")
            raise LabError(f"{self.name} is {server['status']}, not {status}: {fault}")
        return time.monotonic() - began

    def reboot(self) -> None:
        """Request a hard reboot.

        The first build of a server lacks a keyboard that every later build by Nova
        has. After a reboot before the first view, the definition does not change again.
        """
        self.act("reboot", type="HARD")

    # -- through the API and the host ---------------------------------------------

    def view(self) -> View:
        """Return the server as the API and the host show it.

        A service that has just started may fail at first, so failures are retried for
        VIEW_SECONDS. After that the errors of the API and of commands propagate.
        """
        deadline = time.monotonic() + VIEW_SECONDS
        while True:
            try:
                return self._view()
            except (ClientException, SDKException, subprocess.SubprocessError):
                if time.monotonic() > deadline:
                    raise
            time.sleep(1)

    def _view(self) -> View:
        server = self.show()
        return View(
            status=server["status"],
            task_state=server["OS-EXT-STS:task_state"],
            definition=self.host.definition(self.domain),
            running=self.host.running(self.domain),
            rescued=self.host.rescued(self.domain),
            process=self.host.process(self.domain),
            files=self.host.files(self.id),
            attachments=self._attachments(),
            damaged=self.marks.damaged(),
        )

    def _attachments(self) -> frozenset[str]:
        answer = self.cloud.block_storage.get(
            "/attachments/detail", microversion=VOLUME_MICROVERSION
        )
        raise_from_response(answer)
        return frozenset(
            f"{one['id']} of volume {one['volume_id']} {one['status']}"
            for one in answer.json()["attachments"]
            if one["instance"] == self.id
        )

    def mark_disks(self, first_byte: int) -> None:
        """Write a mark to each disk while the guest is off; libvirt then boots it.

        A guest's device names follow from a cold boot, so none changes later (F31).
        """
        self.domain = self.show()["OS-EXT-SRV-ATTR:instance_name"]
        self.host.virsh("destroy", self.domain)
        self.marks = Marks(self.host.definition(self.domain), first_byte)
        self.marks.write()
        self.host.virsh("start", self.domain)

    def wait_for_inventory(self) -> Inventory:
        """Wait until the guest has printed an inventory and return the latest."""

        def printed() -> Inventory | None:
            return inventory.last(self.host.console(self.id))

        return poll(f"the inventory of {self.name}", printed, BOOT_SECONDS)


def make_server(
    factory: ServerFactory,
    name: str,
    image: str,
    rescue_image: str,
    *,
    root: str = "image",
    small: bool = False,
    types: Sequence[str] | None = None,
) -> ChaosServer:
    """Return a new server, which is still being built; the factory deletes it later.

    :param root: what the root disk is on, ``image`` or ``volume``
    :param small: True for a server without ephemeral and swap disk, with less memory
    :param types: the types of its volumes; None for one of each type
    """
    server = ChaosServer(factory.cloud, Host(factory.lab), name, rescue_image)
    if root == "volume":
        root_volume = factory.volume(factory.volume_types[0], image)
        mapping = [disks.volume_disk(root_volume.id, root=True)]
    else:
        mapping = [disks.image_disk(image)]
    kinds = factory.volume_types if types is None else types
    mapping += [disks.volume_disk(volume.id) for volume in factory.volumes(kinds)]
    if not small:
        mapping += [disks.ephemeral_disk(), disks.swap_disk()]
    created = factory.server(
        "lab.tiny" if small else "lab.full",
        image=image if root == "image" else None,
        disks=mapping,
        name=name,
    )
    factory.cleanup.callback(factory.delete, created)
    server.id = created.id
    return server
