# SPDX-License-Identifier: Apache-2.0
"""The events of guests, at the moment when libvirt reports them.

Nova delays the event of a stopped guest by 15 seconds, so whoever waits for a stop
listens where Nova receives the events.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from stable_rescue.nova_internals import concurrency

if TYPE_CHECKING:
    from nova import objects
    from nova.virt.libvirt import driver as libvirt_driver


#: How soon an event is noticed with eventlet.
_NOTICE_SECONDS = 0.02


class GuestEvents:
    """Whether libvirt has reported anything about a guest."""

    def __init__(self) -> None:
        # Nova receives events in a native thread, which with eventlet must not use
        # locks or events of threads. An attribute is enough.
        self._reported = False
        self._event = threading.Event() if concurrency.has_threads() else None

    def report(self) -> None:
        """Note that libvirt has reported something."""
        self._reported = True
        if self._event is not None:
            self._event.set()

    def wait(self, seconds: float) -> bool:
        """Wait for a report; return True if there was one since the last call.

        :param seconds: how long to wait at most; with eventlet, the wait may be shorter
        """
        if self._event is not None:
            self._event.wait(seconds)
            self._event.clear()
        elif not self._reported:
            time.sleep(min(seconds, _NOTICE_SECONDS))
        reported, self._reported = self._reported, False
        return reported


#: The guests that are watched, by instance UUID.
_watched: dict[str, GuestEvents] = {}


def receive_events(driver: libvirt_driver.LibvirtDriver) -> None:
    """Receive the lifecycle events of guests before Nova does; call this only once.

    Nova passes its callback to libvirt at each new connection.
    """
    host = driver._host
    nova_callback = host._event_lifecycle_callback

    def callback(conn: Any, dom: Any, event: int, detail: int, opaque: Any) -> None:
        if events := _watched.get(dom.UUIDString()):
            events.report()
        nova_callback(conn, dom, event, detail, opaque)

    host._event_lifecycle_callback = callback


@contextlib.contextmanager
def watched(instance: objects.Instance) -> Iterator[GuestEvents]:
    """Give the lifecycle events of an instance's guest during the block.

    Only one block at a time can watch an instance. Nova's lock of the instance, which
    all its operations hold, ensures that.
    """
    events = _watched[instance.uuid] = GuestEvents()
    try:
        yield events
    finally:
        del _watched[instance.uuid]
