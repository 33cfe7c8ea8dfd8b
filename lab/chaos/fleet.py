# SPDX-License-Identifier: Apache-2.0
"""The servers that chaos falls on, through OpenStack's API."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from keystoneauth1.exceptions import ClientException
from openstack.connection import Connection
from openstack.exceptions import SDKException, raise_from_response

from lab.chaos.disks import Marks
from lab.chaos.host import Host
from lab.chaos.judge import View
from lab.config import Lab
from lab.demo.server import API_SECONDS, BOOT_SECONDS, poll
from lab.errors import LabError
from lab.services import volume_backends
from stable_rescue.tempest.guest import inventory
from stable_rescue.tempest.guest.inventory import Inventory

#: With instances' attachments; older than any release that the lab knows.
VOLUME_MICROVERSION = "3.44"
#: What a server is given to shut down; a guest that still boots takes no notice.
SHUTDOWN_SECONDS = 3
#: How long chaos may go on in a server after its cause is gone.
SETTLE_SECONDS = 180.0
VIEW_SECONDS = 60.0
#: What OpenStack's API, the lab and commands on the host fail with.
FAILURES = (LabError, ClientException, SDKException, subprocess.SubprocessError)


class ChaosServer:
    """One server, its marks, and what it was like before anything happened."""

    itself: View
    marks: Marks
    inventory: Inventory

    def __init__(self, cloud: Connection, host: Host, name: str, image: str) -> None:
        self.cloud, self.host, self.name, self.rescue_image = cloud, host, name, image
        self.id = self.domain = ""
        #: Seconds of an undisturbed rescue and unrescue.
        self.seconds: dict[str, float] = {}

    # -- through the API ----------------------------------------------------------

    def now(self) -> dict[str, Any]:
        """Return the server as the API shows it.

        :raises ClientException, SDKException: where the API cannot
        """
        answer = self.cloud.compute.get(f"/servers/{self.id}")
        raise_from_response(answer)
        return answer.json()["server"]  # type: ignore[no-any-return]

    def act(self, action: str, **details: str) -> None:
        """Ask for an action.

        :raises LabError: in the API's words, where it refuses
        """
        answer = self.cloud.compute.post(
            f"/servers/{self.id}/action", json={action: details or None}
        )
        if not answer.ok:
            raise LabError(f"{action}: HTTP {answer.status_code} {answer.text[:300]}")

    def ask(self, action: str) -> None:
        """Ask for ``rescue`` or ``unrescue``.

        :raises LabError: in the API's words, where it refuses
        """
        details = {"rescue_image_ref": self.rescue_image} if action == "rescue" else {}
        self.act(action, **details)

    def at_rest(self, seconds: float = SETTLE_SECONDS) -> dict[str, Any]:
        """Return the server once it is at rest; as it is after ``seconds``.

        In error it is not, nor with a record of a rescue that it is not in:
        nova-compute tries to bring it back, or to remove what is left.
        """
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(ClientException, SDKException):
                found = self.now()
                late = time.monotonic() > deadline
                busy = (
                    found["OS-EXT-STS:task_state"]
                    or found["status"] == "ERROR"
                    or (found["status"] != "RESCUE" and self.host.has_record(self.id))
                )
                if not busy or late:
                    return found
            if time.monotonic() > deadline + API_SECONDS:
                raise LabError(f"the API does not answer for {self.name}")
            time.sleep(0.3)

    def reach(self, status: str, seconds: float = SETTLE_SECONDS) -> float:
        """Wait for a status; return after how many seconds it was there.

        :raises LabError: where another one is come to
        """
        began = time.monotonic()
        found = self.at_rest(seconds)
        if found["status"] != status:
            fault = found.get("fault", {}).get("message", "no fault is recorded")
            raise LabError(f"{self.name} is {found['status']}, not {status}: {fault}")
        return time.monotonic() - began

    def reboot(self) -> None:
        """Ask for a hard reboot, to be waited for.

        Nova builds the definition anew, as with each later start of its own. What it
        knows by then of the image is more than at first: a keyboard comes.
        """
        self.act("reboot", type="HARD")

    # -- all of it ----------------------------------------------------------------

    def view(self) -> View:
        """Return the server as the API and the host show it.

        What has just been started may fail at first, so it is asked for a while.
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
        found = self.now()
        return View(
            status=found["status"],
            task_state=found["OS-EXT-STS:task_state"],
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

    def await_inventory(self) -> Inventory:
        """Return what the guest printed at its latest boot, once it has."""

        def printed() -> Inventory | None:
            return inventory.last(self.host.console(self.id))

        return poll(f"inventory of {self.name}", printed, BOOT_SECONDS)


class Asked(threading.Thread):
    """A request to the API, which may hang while its services are dead."""

    def __init__(self, request: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._request = request
        self.refusal = ""
        self.start()

    def run(self) -> None:
        """Ask, and keep what the API says against it."""
        try:
            self._request()
        except (LabError, ClientException, SDKException) as error:
            self.refusal = str(error)


class Fleet:
    """Makes the servers; all of it goes with ``undo``."""

    def __init__(
        self, lab: Lab, cloud: Connection, undo: contextlib.ExitStack, own: str
    ) -> None:
        """Remember; ``own`` is the image that servers are made from."""
        self.lab, self.cloud, self._undo, self._own = lab, cloud, undo, own
        self.types = [backend.volume_type for backend in volume_backends(lab)]

    def make(
        self,
        name: str,
        rescue_image: str,
        *,
        root: str = "image",
        small: bool = False,
        types: Sequence[str] | None = None,
    ) -> ChaosServer:
        """Return a new server, which is still being built.

        :param root: what its root disk is on, ``image`` or ``volume``
        :param small: no ephemeral and no swap disk, less memory
        :param types: of its volumes; by default, one of each type there is
        """
        server = ChaosServer(self.cloud, Host(self.lab), name, rescue_image)
        mapping = [self._root(root, name)]
        for kind in self.types if types is None else types:
            mapping.append(_volume(self._new_volume(name, kind), None))
        if not small:
            mapping += _local_disks()
        flavor = "lab.tiny" if small else "lab.full"
        network: Any = "none"
        if self.lab.options.network:
            network = [{"uuid": self.cloud.network.find_network("lab").id}]
        made = self.cloud.compute.create_server(
            name=name,
            flavor_id=self.cloud.compute.find_flavor(flavor).id,
            networks=network,
            config_drive=True,
            block_device_mapping=mapping,
            **({"image_id": self._own} if root == "image" else {}),
        )
        self._undo.callback(self._delete, made)
        server.id = made.id
        return server

    def _root(self, kind: str, name: str) -> dict[str, Any]:
        if kind == "volume":
            return _volume(self._new_volume(name, self.types[0], self._own), 0)
        return {
            "uuid": self._own,
            "source_type": "image",
            "destination_type": "local",
            "boot_index": 0,
            "delete_on_termination": True,
        }

    def _new_volume(self, name: str, kind: str, image: str | None = None) -> str:
        volumes = self.cloud.block_storage
        made = volumes.create_volume(
            size=1,
            volume_type=kind,
            name=name,
            **({"image_id": image} if image else {}),
        )
        self._undo.callback(self._delete_volume, made)
        volumes.wait_for_status(made, "available", wait=API_SECONDS)
        return str(made.id)

    def _delete(self, server: Any) -> None:
        self.cloud.compute.delete_server(server, ignore_missing=True)
        self.cloud.compute.wait_for_delete(server, wait=API_SECONDS)

    def _delete_volume(self, volume: Any) -> None:
        volumes = self.cloud.block_storage
        volumes.wait_for_status(volume, "available", wait=API_SECONDS)
        volumes.delete_volume(volume)
        # Until then its backend has it, which would be taken for a leftover.
        volumes.wait_for_delete(volume, wait=API_SECONDS)


def _volume(volume_id: str, boot_index: int | None) -> dict[str, Any]:
    return {
        "uuid": volume_id,
        "source_type": "volume",
        "destination_type": "volume",
        "boot_index": boot_index,
    }


def _local_disks() -> Iterator[dict[str, Any]]:
    """Yield the ephemeral and the swap disk of flavor lab.full."""
    blank = {"source_type": "blank", "destination_type": "local", "boot_index": -1}
    yield {**blank, "volume_size": 1, "delete_on_termination": True}
    yield {
        **blank,
        "volume_size": 64,
        "guest_format": "swap",
        "delete_on_termination": True,
    }


def upload(
    cloud: Connection,
    undo: contextlib.ExitStack,
    path: Path,
    **more: str,
) -> str:
    """Upload an image, of the format of its suffix; return its id."""
    image = cloud.image.create_image(
        name="chaos",
        filename=str(path),
        disk_format=path.suffix[1:],
        container_format="bare",
        **more,
    )
    undo.callback(cloud.image.delete_image, image.id)
    return str(image.id)
