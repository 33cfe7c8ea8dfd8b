# SPDX-License-Identifier: Apache-2.0
"""nova-compute of the lab: started with another driver, and what it uses."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from lab.config import Lab, Options
from lab.errors import LabError
from lab.procfs import HOST_PROC, ProcessId
from lab.service import wait_until
from lab.services.nova import NovaCompute

STABLE_DRIVER = Options.driver
STOCK_DRIVER = "libvirt.LibvirtDriver"


def stop(lab: Lab, driver: str, images_type: str | None = None) -> NovaCompute:
    """Stop nova-compute and configure it with a driver; return the service.

    :param images_type: Nova's option of this name; None for the lab's
    """
    options = dataclasses.replace(
        lab.options,
        driver=driver,
        images_type=images_type or lab.options.images_type,
    )
    service = NovaCompute(dataclasses.replace(lab, options=options))
    service.stop()
    service.configure()
    return service


def start(service: NovaCompute) -> None:
    """Start nova-compute and wait until it serves its host.

    :raises LabError: if that takes too long
    """
    service.start()
    wait_until(
        "nova-compute to be ready",
        service.ready,
        service.deadline,
        log=service.lab.log(service.name),
        interval=0.05,
    )


def process(lab: Lab, name: str = NovaCompute.name) -> Path:
    """Return the folder in /proc of a process of the lab, seen from the sandbox.

    :raises LabError: if it does not run
    """
    identity = ProcessId.read(lab.pid_file(name))
    if identity is None or not identity.alive():
        raise LabError(f"{name} does not run.")
    return HOST_PROC / str(identity.pid)


def cpu_seconds(process: Path) -> float:
    """Return the CPU time that a process has used, without its children."""
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])  # in user mode and in the kernel
    return ticks / os.sysconf("SC_CLK_TCK")


def mebibytes(process: Path, field: str = "VmRSS") -> float:
    """Return the resident memory of a process in MiB: now, or its peak (VmHWM)."""
    memory = (process / "status").read_text().partition(f"{field}:")[2].split()
    return int(memory[0]) / 1024


def reset_peak(process: Path) -> None:
    """Let VmHWM start anew from the resident memory."""
    (process / "clear_refs").write_text("5")
