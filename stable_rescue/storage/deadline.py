# SPDX-License-Identifier: Apache-2.0
"""Checks of volumes that may never return, because their storage is gone.

A read from a multipath device without paths (queue_if_no_path), or a stat on a dead NFS
mount, cannot be interrupted. Each check therefore runs in a daemon thread. A check that
hangs leaves this thread behind, and perhaps the ``dd`` with which os-brick reads, until
the storage answers. The thread blocks neither the rescue nor the exit of nova-compute.
"""

import sys
from collections.abc import Callable
from concurrent import futures
from typing import Any, TypeVar

from nova import conf as nova_conf
from oslo_context import context as oslo_context

from stable_rescue import exception
from stable_rescue.workers import Workers

CONF = nova_conf.CONF

R = TypeVar("R")

# A check that hangs must not keep another one waiting.
_workers = Workers(lambda: sys.maxsize, "stable-rescue-volume")
# The last check that hung, by the name of its volume.
_hung: dict[str, "futures.Future[Any]"] = {}


def limited(name: str, check: Callable[[], R]) -> R:
    """Return what a check of a volume returns; its errors propagate.

    As long as an earlier check of the same volume hangs, no other one is started.

    :param name: the volume, for the refusal
    :raises Refused: if there is no answer within ``volume_check_timeout`` seconds
    """
    seconds = CONF.stable_rescue.volume_check_timeout
    earlier = _hung.get(name)
    if earlier is None or earlier.done():
        future = _start(check)
        futures.wait([future], seconds)
        if future.done():
            _hung.pop(name, None)
            return future.result()
        _hung[name] = future
    raise exception.Refused(
        f"{name} did not answer on the compute host within {seconds} seconds; "
        "ask the operator"
    )


def _start(check: Callable[[], R]) -> "futures.Future[R]":
    # oslo.log reads the request id from the thread's context store.
    context = oslo_context.get_current()

    def run() -> R:
        if context is not None:
            context.update_store()
        return check()

    return _workers.submit(run)
