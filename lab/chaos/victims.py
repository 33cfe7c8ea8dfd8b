# SPDX-License-Identifier: Apache-2.0
"""What is killed, and how it comes back: by the lab's own start of the service."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from dataclasses import dataclass

from lab import procfs
from lab.config import Lab
from lab.errors import LabError
from lab.service import Service, wait_until
from lab.services import all_services

REPORT_SECONDS = 3.0


@dataclass(frozen=True)
class Victim:
    """A process of the lab that may be killed.

    ``whole`` is whether its children, which are workers of its own, go with it. Those
    of libvirtd are guests, and nova-compute's privileged helpers notice by themselves.
    """

    process: str
    service: str
    whole: bool = False


VICTIMS = {
    victim.process: victim
    for victim in (
        Victim("nova-compute", "nova-compute"),
        Victim("libvirtd", "libvirtd"),
        Victim("rabbitmq", "rabbitmq", whole=True),
        Victim("mariadb", "mariadb"),
        Victim("glance", "glance", whole=True),
        Victim("cinder-volume", "cinder-volume", whole=True),
        Victim("ceph-osd", "ceph"),
    )
}


def chosen(names: str) -> list[str]:
    """Return the victims of a list with commas.

    :raises LabError: where one is not known
    """
    wanted = [name for name in names.split(",") if name]
    unknown = sorted(set(wanted) - set(VICTIMS))
    if unknown or not wanted:
        known = ", ".join(VICTIMS)
        raise LabError(f"No victim {', '.join(unknown) or 'at all'}; known: {known}")
    return wanted


class Killer:
    """Kills and revives, in the sandbox whose processes these are."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._services = {service.name: service for service in all_services(lab)}

    def kill(self, name: str, keep_log: str) -> None:
        """``kill -9`` a victim; its log so far is kept under another name.

        :raises LabError: where it does not run
        """
        victim = VICTIMS[name]
        identity = procfs.ProcessId.read(self._lab.pid_file(victim.process))
        if identity is None or not identity.alive():
            raise LabError(f"{name} does not run, so it cannot be killed")
        if victim.whole:
            os.killpg(identity.pid, signal.SIGKILL)
        else:
            os.kill(identity.pid, signal.SIGKILL)
        wait_until(f"the end of {name}", lambda: not identity.alive(), 10)
        folder = self._lab.log_dir / "chaos"
        folder.mkdir(exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            shutil.copy(self._lab.log(victim.process), folder / f"{keep_log}.log")

    def report(self, name: str) -> None:
        """Have a victim print what its threads do: Nova's Guru Meditation Report."""
        identity = procfs.ProcessId.read(self._lab.pid_file(VICTIMS[name].process))
        if identity is not None and identity.alive():
            os.kill(identity.pid, signal.SIGUSR2)
            time.sleep(REPORT_SECONDS)

    def revive(self, name: str) -> None:
        """Start a victim again, and wait until it does its work.

        :raises LabError: where it does not
        """
        service = self.service(name)
        service.start()
        service.wait_ready()

    def service(self, name: str) -> Service:
        """Return the service of a victim."""
        return self._services[VICTIMS[name].service]
