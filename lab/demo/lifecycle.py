# SPDX-License-Identifier: Apache-2.0
"""How long a guest was off, from libvirt's lifecycle events."""

from __future__ import annotations

import contextlib
import datetime
import re
import subprocess
import threading
from collections.abc import Iterable, Iterator

from lab.errors import LabError
from lab.servers.api import poll
from lab.services.libvirtd import URI

#: A line of ``virsh event --timestamp``.
_EVENT = re.compile(r"(\S+ \S+): event 'lifecycle' for domain .*: (Started|Stopped)\b")
_SECONDS = 60.0


class Downtimes:
    """The downtimes of one domain since this was made."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._taken = 0

    def read(self, lines: Iterable[str]) -> None:
        """Keep the lines of ``virsh event`` until there are no more."""
        for line in lines:
            self._lines.append(line)

    def next(self) -> float:
        """Wait for the end of the next downtime; return its seconds.

        :raises LabError: if the guest does not start again
        """
        known = self._taken
        found = poll(
            "the guest's next start",
            lambda: between(self._lines)[known:] or None,
            _SECONDS,
        )
        self._taken += 1
        return found[0]


@contextlib.contextmanager
def downtimes(domain: str) -> Iterator[Downtimes]:
    """Listen to the lifecycle events of a domain during the block."""
    command = ["virsh", "--connect", URI, "event", "--domain", domain]
    command += ["--event", "lifecycle", "--loop", "--timestamp"]
    # virsh buffers what it writes to a pipe.
    listener = subprocess.Popen(
        ["stdbuf", "--output=L", *command], stdout=subprocess.PIPE, text=True
    )
    if listener.stdout is None:
        raise LabError("virsh event has no output.")
    found = Downtimes()
    reader = threading.Thread(target=found.read, args=(listener.stdout,), daemon=True)
    reader.start()
    try:
        yield found
    finally:
        listener.terminate()
        listener.wait(_SECONDS)
        reader.join(_SECONDS)


def between(lines: Iterable[str]) -> list[float]:
    """Return the seconds from each stop to the start that follows it."""
    stopped: datetime.datetime | None = None
    seconds = []
    for line in list(lines):
        match = _EVENT.match(line)
        if match is None:
            continue
        time = datetime.datetime.fromisoformat(match[1])
        if match[2] == "Stopped":
            stopped = stopped or time
        elif stopped is not None:
            seconds.append((time - stopped).total_seconds())
            stopped = None
    return seconds
