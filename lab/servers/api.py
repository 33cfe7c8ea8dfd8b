# SPDX-License-Identifier: Apache-2.0
"""The connection to OpenStack's API, and ways to wait for it."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import openstack
from keystoneauth1.exceptions import ClientException
from openstack.connection import Connection
from openstack.exceptions import SDKException

from lab.errors import LabError

T = TypeVar("T")

#: The newest compute API of Nova 31. One answer shows all fields of a server, and
#: servers whose root disk is a volume can be rescued (2.87).
MICROVERSION = "2.90"
#: Guests are emulated: stock rescue on USB takes 80 to 200 seconds to boot (U33).
BOOT_SECONDS = 480.0
API_SECONDS = 180.0
POLL_SECONDS = 0.5
#: The errors of OpenStack's API, of the lab, and of commands on the host.
FAILURES = (LabError, ClientException, SDKException, subprocess.SubprocessError)


def connect(**options: Any) -> Connection:
    """Return a connection as the lab's administrator, by the OS_* variables."""
    cloud = openstack.connect(**options)
    cloud.compute.default_microversion = MICROVERSION
    return cloud


def poll(what: str, probe: Callable[[], T | None], seconds: float) -> T:
    """Return the first answer of ``probe`` that is not None.

    :raises LabError: if ``probe`` still returns None after ``seconds``
    """
    deadline = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer is not None:
            return answer
        if time.monotonic() > deadline:
            raise LabError(f"Gave up waiting for {what} after {seconds:.0f} seconds.")
        time.sleep(POLL_SECONDS)


class BackgroundRequest(threading.Thread):
    """A request to the API in a thread: it may hang while services are dead."""

    def __init__(self, request: Callable[[], None]) -> None:
        """Start the request."""
        super().__init__(daemon=True)
        self._request = request
        #: Why the API refused the request, "" if it did not.
        self.refusal = ""
        self.start()

    def run(self) -> None:
        """Make the request and keep the refusal."""
        try:
            self._request()
        except (LabError, ClientException, SDKException) as error:
            self.refusal = str(error)
