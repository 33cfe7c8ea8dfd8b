# SPDX-License-Identifier: Apache-2.0
"""One rescue or unrescue through the API, and what it took."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from openstack.connection import Connection
from openstack.exceptions import raise_from_response

from benchmarks.cloud.images import BOOTED
from lab.errors import LabError
from lab.servers.events import POWER_BUTTON, STARTED, STOPPED, Event, Events
from lab.servers.host import Host

POLL_SECONDS = 0.1
OPERATION_SECONDS = 600.0
BOOT_SECONDS = 240.0
EVENT_SECONDS = 30.0
#: A guest that is off for longer than this is not going to start.
OFF_SECONDS = 120.0
OPERATIONS = ("rescue", "unrescue")
#: operation: the status that follows, and the image that the guest boots from.
OUTCOMES = {"rescue": ("RESCUE", "rescue"), "unrescue": ("ACTIVE", "original")}


def no_samples(*kinds: str) -> dict[str, dict[str, list[Any]]]:
    """Return an empty list of samples for each operation and kind of measurement."""
    return {operation: {kind: [] for kind in kinds} for operation in OPERATIONS}


@dataclass(frozen=True)
class Sample:
    """What one operation took, in seconds."""

    downtime: float  # from libvirt's STOPPED to its STARTED
    shutdown: float | None  # from the power button to STOPPED; None if not pressed
    status: float  # from the request to the server's status

    @classmethod
    def of(cls, events: Sequence[Event], requested: float, reached: float) -> Sample:
        """Return the sample of the events since a request.

        :param requested: when the API was asked, in seconds since the epoch
        :param reached: when the API showed the status, in seconds since the epoch
        :raises LabError: if the guest did not stop and start
        """
        times: dict[str, list[float]] = {}
        for event in events:
            times.setdefault(event.name, []).append(event.seconds)
        if not times.get(STOPPED) or not times.get(STARTED):
            raise LabError("The guest did not stop and start.")
        stopped = times[STOPPED][0]
        pressed = [when for when in times.get(POWER_BUTTON, ()) if when <= stopped]
        return cls(
            downtime=times[STARTED][-1] - stopped,
            shutdown=stopped - pressed[0] if pressed else None,
            status=reached - requested,
        )


class Subject:
    """A server that is measured."""

    def __init__(
        self, cloud: Connection, host: Host, events: Events, server: Any
    ) -> None:
        self.cloud, self.host, self.events = cloud, host, events
        self.id, self.domain = str(server.id), str(server.instance_name)

    def request(self, action: str, image: str = "") -> float:
        """Request an action; return when, in seconds since the epoch.

        Errors of the API propagate.

        :param image: the image to rescue with
        """
        details = {"rescue_image_ref": image} if action == "rescue" else None
        requested = time.time()
        raise_from_response(
            self.cloud.compute.post(
                f"/servers/{self.id}/action", json={action: details}
            )
        )
        return requested

    def status(self) -> str:
        """Return the status of the server, "" while a task runs.

        Errors of the API propagate.
        """
        answer = self.cloud.compute.get(f"/servers/{self.id}")
        raise_from_response(answer)
        server = answer.json()["server"]
        return "" if server["OS-EXT-STS:task_state"] else str(server["status"])

    def reach(self, action: str, requested: float) -> float:
        """Wait for the status after an action; return when it was reached.

        While the guest is off, the API is not asked: its answers would take CPU time
        from the start of the next guest, which is measured.

        :param requested: when the action was requested, in seconds since the epoch
        :raises LabError: if the server gets another status
        """
        wanted, _image = OUTCOMES[action]
        deadline = time.monotonic() + OPERATION_SECONDS
        while time.monotonic() < deadline:
            if not self.is_off(requested) and (status := self.status()):
                if status != wanted:
                    raise LabError(f"{self.id} is {status} after {action}.")
                return time.time()
            time.sleep(POLL_SECONDS)
        raise LabError(f"Gave up waiting for {action} of {self.id}.")

    def is_off(self, requested: float) -> bool:
        """Return True if the guest has stopped since a request, and may start soon."""
        states = [
            event
            for event in self.events.of(self.domain, requested)
            if event.name in (STARTED, STOPPED)
        ]
        return (
            bool(states)
            and states[-1].name == STOPPED
            and time.time() - states[-1].seconds < OFF_SECONDS
        )

    def sample(self, requested: float, reached: float) -> Sample:
        """Return what the operation requested at a time took; wait for its events.

        :raises LabError: if the guest did not start
        """
        deadline = time.monotonic() + EVENT_SECONDS
        while True:
            events = self.events.of(self.domain, requested)
            names = [event.name for event in events]
            if STARTED in names or time.monotonic() > deadline:
                return Sample.of(events, requested, reached)
            time.sleep(POLL_SECONDS)

    def operate(self, action: str, image: str = "") -> Sample:
        """Rescue or unrescue; return what that took, once the guest has booted.

        :raises LabError: if the server does not reach the status
        """
        requested = self.request(action, image)
        sample = self.sample(requested, self.reach(action, requested))
        self.wait_for_boot(OUTCOMES[action][1])
        return sample

    def wait_for_boot(self, image: str) -> None:
        """Wait until the guest has booted from an image and reacts to its button.

        :raises LabError: if it does not
        """
        booted = BOOTED.format(image)
        deadline = time.monotonic() + BOOT_SECONDS
        while True:
            if booted in self.host.console(self.id):
                return
            if time.monotonic() > deadline:
                raise LabError(f"{self.domain} does not boot from {image}.")
            time.sleep(POLL_SECONDS)
