# SPDX-License-Identifier: Apache-2.0
"""memcached, the cache of validated tokens."""

from __future__ import annotations

from lab.config import ADDRESS, PORTS
from lab.openstack import listening
from lab.service import Service


class Memcached(Service):
    """The cache of the OpenStack services."""

    name = "memcached"

    def start(self) -> None:
        port = str(PORTS["memcached"])
        self.spawn(
            [
                *("memcached", "-u", "root", "-l", ADDRESS, "-p", port),
                *("-U", "0", "-m", "32"),
            ]
        )

    def ready(self) -> bool:
        return self.running() and listening(self.lab, PORTS["memcached"])


SERVICES = (Memcached,)
