# SPDX-License-Identifier: Apache-2.0
"""Events of the host's domains, as virsh prints them, with the times of libvirt."""

from __future__ import annotations

import contextlib
import datetime
import re
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from lab.errors import LabError
from lab.services.libvirtd import URI

STARTED, STOPPED = "Started", "Stopped"
#: QEMU's event when the guest's power button is pressed.
POWER_BUTTON = "POWERDOWN"
#: A line of ``virsh event`` or ``virsh qemu-monitor-event``, with ``--timestamp``.
_LINE = re.compile(r"(\S+ \S+): event '?([\w-]+)'? for domain '?([\w-]+)'?: (\S+)")
_END_SECONDS = 60.0


@dataclass(frozen=True)
class Event:
    """One event of a domain."""

    seconds: float  # since the epoch
    domain: str
    name: str  # of libvirt's lifecycle, such as STARTED, or POWER_BUTTON


def parse(lines: Iterable[str]) -> Iterator[Event]:
    """Yield the events in the output of virsh; other lines are ignored."""
    for line in lines:
        if match := _LINE.match(line):
            time, kind, domain, detail = match.groups()
            seconds = datetime.datetime.fromisoformat(time).timestamp()
            yield Event(seconds, domain, detail if kind == "lifecycle" else kind)


class Events:
    """The events since the listeners were started."""

    def __init__(self, react: Callable[[Event], None] | None = None) -> None:
        """Keep events.

        :param react: called with each event at once, in another thread
        """
        self._events: list[Event] = []
        self._react = react

    def read(self, lines: Iterable[str]) -> None:
        """Keep the events of virsh's output until it ends."""
        for event in parse(lines):
            self._events.append(event)
            if self._react is not None:
                self._react(event)

    def of(self, domain: str, since: float = 0.0) -> list[Event]:
        """Return the events of a domain, in order.

        :param since: seconds since the epoch; earlier events are left out
        """
        found = [
            event
            for event in tuple(self._events)
            if event.domain == domain and event.seconds >= since
        ]
        return sorted(found, key=lambda event: event.seconds)


@contextlib.contextmanager
def listening(react: Callable[[Event], None] | None = None) -> Iterator[Events]:
    """Listen to the lifecycle of every domain, and to power buttons, in the block.

    :param react: called with each event at once, in another thread
    """
    events = Events(react)
    with contextlib.ExitStack() as stack:
        for words in (
            ("event", "--event", "lifecycle"),
            ("qemu-monitor-event", "--event", POWER_BUTTON),
        ):
            _listen(stack, events, words)
        yield events


def _listen(stack: contextlib.ExitStack, events: Events, words: Iterable[str]) -> None:
    """Start a virsh that listens until ``stack`` is closed."""
    # virsh buffers what it writes to a pipe.
    command = ["stdbuf", "--output=L", "virsh", "--connect", URI, *words]
    listener = subprocess.Popen(
        [*command, "--loop", "--timestamp"], stdout=subprocess.PIPE, text=True
    )
    if listener.stdout is None:
        raise LabError("virsh event has no output.")
    reader = threading.Thread(target=events.read, args=(listener.stdout,), daemon=True)
    reader.start()
    stack.callback(reader.join, _END_SECONDS)
    stack.callback(listener.wait, _END_SECONDS)
    stack.callback(listener.terminate)
