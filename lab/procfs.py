# SPDX-License-Identifier: Apache-2.0
"""Identify a process beyond its pid, so that a stale pid file is harmless."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

HOST_PROC = Path("/proc")


def start_time(pid: int, proc: Path = HOST_PROC) -> int | None:
    """Return when ``pid`` started, in clock ticks since boot.

    None where there is no such process, or only a zombie of it.
    """
    try:
        stat = (proc / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The command name may hold blanks and brackets; fields count from its end.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


@dataclass(frozen=True)
class ProcessId:
    """A pid together with the time it started: two reboots later still unique."""

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int, proc: Path = HOST_PROC) -> ProcessId | None:
        """Return the identity of the running process ``pid``, or None."""
        started = start_time(pid, proc)
        return None if started is None else cls(pid, started, boot_id())

    @classmethod
    def read(cls, path: Path) -> ProcessId | None:
        """Return what ``write`` left in ``path``; None if absent or damaged."""
        try:
            pid, started, boot = path.read_text().split()
            return cls(int(pid), int(started), boot)
        except (OSError, ValueError):
            return None

    def write(self, path: Path) -> None:
        """Write to ``path`` atomically."""
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(f"{self.pid} {self.started} {self.boot}\n")
        temporary.replace(path)

    def alive(self, proc: Path = HOST_PROC) -> bool:
        """Return whether this very process, not a successor of its pid, runs."""
        return self.boot == boot_id() and start_time(self.pid, proc) == self.started


def boot_id() -> str:
    """Return the kernel's identifier of this boot."""
    return (HOST_PROC / "sys/kernel/random/boot_id").read_text().strip()
