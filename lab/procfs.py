# SPDX-License-Identifier: Apache-2.0
"""Identify a process by more than its pid, so that a stale pid file does no harm."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

HOST_PROC = Path("/proc")


def start_time(pid: int, proc: Path = HOST_PROC) -> int | None:
    """Return when ``pid`` started, in clock ticks since boot.

    Return None if there is no such process or if it is a zombie.
    """
    fields = _stat(pid, proc)
    return int(fields[19]) if fields else None


def session(pid: int, proc: Path = HOST_PROC) -> int | None:
    """Return the session of ``pid``, which is the pid of the session's first process.

    Return None if there is no such process or if it is a zombie.
    """
    fields = _stat(pid, proc)
    return int(fields[3]) if fields else None


def _stat(pid: int, proc: Path) -> list[str]:
    """Return what ``stat`` says of a process from its state on, [] if it has ended."""
    try:
        stat = (proc / str(pid) / "stat").read_text()
    except OSError:
        return []
    # The command name may contain blanks and brackets; count fields from its end.
    fields = stat.rpartition(")")[2].split()
    return [] if fields[0] in "ZX" else fields


@dataclass(frozen=True)
class ProcessId:
    """A pid, its start time, and the boot of the machine: together they are unique."""

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
        """Return what ``write`` wrote to ``path``, None if it is absent or damaged."""
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
        """Return True if this process runs; a later one with its pid does not count."""
        return self.boot == boot_id() and start_time(self.pid, proc) == self.started


def boot_id() -> str:
    """Return the kernel's identifier of this boot."""
    return (HOST_PROC / "sys/kernel/random/boot_id").read_text().strip()
