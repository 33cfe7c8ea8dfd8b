# SPDX-License-Identifier: Apache-2.0
"""Victims: services that are killed on purpose and started again by the lab."""

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

    ``with_children`` is True if its children are its workers and are killed too. The
    children of libvirtd are guests, which stay. The privileged helpers of nova-compute
    end by themselves.
    """

    process: str
    service: str
    with_children: bool = False


VICTIMS = {
    victim.process: victim
    for victim in (
        Victim("nova-compute", "nova-compute"),
        Victim("libvirtd", "libvirtd"),
        Victim("rabbitmq", "rabbitmq", with_children=True),
        Victim("mariadb", "mariadb"),
        Victim("glance", "glance", with_children=True),
        Victim("cinder-volume", "cinder-volume", with_children=True),
        Victim("ceph-osd", "ceph"),
    )
}


def chosen(names: str) -> list[str]:
    """Return the victims in a comma-separated list.

    :raises LabError: if one is unknown or the list is empty
    """
    wanted = [name for name in names.split(",") if name]
    unknown = sorted(set(wanted) - set(VICTIMS))
    if unknown or not wanted:
        problem = f"Unknown victim {', '.join(unknown)}" if unknown else "No victim"
        raise LabError(f"{problem}; choose from {', '.join(VICTIMS)}.")
    return wanted


class Killer:
    """Kills victims and starts them again; runs in the sandbox."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._services = {service.name: service for service in all_services(lab)}

    def kill(self, name: str, keep_log: str) -> None:
        """``kill -9`` a victim and copy its log to log/chaos/KEEP_LOG.log.

        :raises LabError: if the victim does not run
        """
        victim = VICTIMS[name]
        identity = procfs.ProcessId.read(self._lab.pid_file(victim.process))
        if identity is None or not identity.alive():
            raise LabError(f"Cannot kill {name}: it does not run.")
        if victim.with_children:
            os.killpg(identity.pid, signal.SIGKILL)
        else:
            os.kill(identity.pid, signal.SIGKILL)
        wait_until(f"the end of {name}", lambda: not identity.alive(), 10)
        folder = self._lab.log_dir / "chaos"
        folder.mkdir(exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            shutil.copy(self._lab.log(victim.process), folder / f"{keep_log}.log")

    def report(self, name: str) -> None:
        """Make a Nova service log what its threads do (Guru Meditation Report)."""
        identity = procfs.ProcessId.read(self._lab.pid_file(VICTIMS[name].process))
        if identity is not None and identity.alive():
            os.kill(identity.pid, signal.SIGUSR2)
            time.sleep(REPORT_SECONDS)

    def revive(self, name: str) -> None:
        """Start a victim again and wait until it is ready.

        :raises LabError: if it does not become ready
        """
        service = self.service(name)
        service.start()
        service.wait_ready()

    def service(self, name: str) -> Service:
        """Return the service of a victim."""
        return self._services[VICTIMS[name].service]
