# SPDX-License-Identifier: Apache-2.0
"""The compute host loses its power and boots again; runs in the sandbox.

The controllers, which are the same machine here, and Ceph keep running. What a host
keeps on its disks stays, such as Open vSwitch's database with the guests' ports:
libvirt does not mark them as transient, so ``ovs-ctl`` would not remove them either.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from lab import loops, procfs
from lab.config import Lab
from lab.service import wait_until
from lab.services import all_services
from lab.services.nova import COMPUTE_CONF

NOVA_COMPUTE = "nova-compute"
OPTION = "resume_guests_state_on_host_boot"
#: What a host starts before nova-compute, in this order.
SERVICES = (
    "ovsdb-server",
    "ovs-vswitchd",
    "storpool",
    "virtlogd",
    "libvirtd",
    "neutron-openvswitch-agent",
)
#: /run is in memory, so a boot finds these folders empty.
RUN_FOLDERS = (Path("/run/libvirt"), Path("/run/openvswitch"))
#: The kernel keeps the first 15 characters of qemu-system-x86_64.
QEMU = "qemu-system-x86"
SECONDS = 30.0
#: libvirt remembers who owned a disk, and at which boot of the host it took the disk.
BOOT_TIME = "trusted.libvirt.security.timestamp_dac"


class ComputeHost:
    """The compute host, whose power can fail."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        services = {service.name: service for service in all_services(lab)}
        self._services = [services[name] for name in SERVICES if name in services]
        self.nova_compute = services[NOVA_COMPUTE]

    def fail(self) -> None:
        """End every process of the host at once, with all that the kernel had made.

        :raises LabError: if a process does not end, or a loop device does not go
        """
        names = [NOVA_COMPUTE, *(service.name for service in self._services)]
        sessions = {
            identity.pid
            for name in names
            if (identity := procfs.ProcessId.read(self._lab.pid_file(name)))
        }
        # A process may start another one before its own end.
        wait_until(
            "the end of the host's processes", lambda: not _kill(sessions), SECONDS
        )
        wait_until(
            "the end of the host's loop devices", lambda: not self._loops(), SECONDS
        )
        for tap in _taps():
            _run("ip", "link", "delete", tap)
        for folder in RUN_FOLDERS:
            for path in folder.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        _age(self._lab.data("nova/instances"))

    def boot(self) -> None:
        """Start everything that nova-compute needs.

        :raises LabError: if a service does not become ready
        """
        for service in self._services:
            service.start()
            service.wait_ready()

    def set_resume(self, resume: bool | None) -> None:
        """Set whether Nova starts the guests that ran when the host failed.

        nova-compute reads that at its start.

        :param resume: None for Nova's default
        """
        path = self._lab.etc("nova") / COMPUTE_CONF
        path.write_text(with_resume(path.read_text(), resume))

    def _loops(self) -> list[str]:
        """Detach loop devices; return those that are left."""
        with contextlib.suppress(subprocess.CalledProcessError):  # gone by itself
            loops.detach(self._lab.state)
        return loops.backed_by(self._lab.state)


def _age(folder: Path) -> None:
    """Make libvirt see that the host has booted since it took the disks in a folder.

    The kernel has not booted, so libvirt would take its remembered owners for valid.
    """
    for path in folder.rglob("*"):
        if path.is_file() and BOOT_TIME in os.listxattr(path):
            os.setxattr(path, BOOT_TIME, b"1")


def _taps() -> list[str]:
    """Return the network devices of guests."""
    names = (path.name for path in Path("/sys/class/net").iterdir())
    return [name for name in names if name.startswith("tap")]


def with_resume(text: str, resume: bool | None) -> str:
    """Return a nova-compute.conf with OPTION set, or without it if that is None."""
    lines = [line for line in text.splitlines() if not line.startswith(OPTION)]
    if resume is not None:
        lines.insert(lines.index("[DEFAULT]") + 1, f"{OPTION} = {resume}")
    return "\n".join(lines) + "\n"


def _kill(sessions: set[int]) -> list[int]:
    """Kill the guests, and the sessions of services, privileged helpers included."""
    killed = []
    for pid in _running():
        if procfs.session(pid) in sessions or _command(pid) == QEMU:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
    return killed


def _running() -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and procfs.start_time(int(entry.name)) is not None:
            yield int(entry.name)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:  # the process has ended
        return ""


def _run(*argv: str) -> str:
    return subprocess.run(
        argv, check=True, capture_output=True, text=True, timeout=SECONDS
    ).stdout
