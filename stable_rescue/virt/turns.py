# SPDX-License-Identifier: Apache-2.0
"""A host exchanges a few guests at a time, and the others keep running meanwhile.

A server is off from the end of one guest to the start of the next. QEMUs that start at
the same time share the cores of the host: when twenty servers were rescued at once on
two cores, one was off for ten times as long as if it had been rescued alone.
"""

import contextlib
import os
import threading
from collections.abc import Iterator

from nova import objects
from oslo_log import log as logging
from oslo_utils import timeutils

LOG = logging.getLogger(__name__)

# A guest that has its turn may take a minute to shut down. The others wait for less.
_WAIT_SECONDS = 10.0
_LOGGED_SECONDS = 1.0

_turns = threading.BoundedSemaphore(os.cpu_count() or 1)


@contextlib.contextmanager
def turn(instance: "objects.Instance") -> Iterator[None]:
    """Wait for a turn to exchange a server's guest, and keep it during the block.

    There is a turn for each core of the host. A server that has waited for 10 seconds
    goes on without one. Call this while the guest runs, and with the instance's lock
    held, so that no request for the server comes between. What else may change is read
    after the guest's shutdown, which can take longer than this wait.
    """
    with timeutils.StopWatch() as watch:
        has_turn = _turns.acquire(timeout=_WAIT_SECONDS)
    if watch.elapsed() > _LOGGED_SECONDS:
        LOG.info(
            "The guest kept running for %.1f seconds while others were exchanged",
            watch.elapsed(),
            instance=instance,
        )
    try:
        yield
    finally:
        if has_turn:
            _turns.release()
