# SPDX-License-Identifier: Apache-2.0
"""Which request may change a server's guest."""

import contextlib
from collections.abc import Iterator

from nova import objects
from nova.compute import task_states
from oslo_concurrency import lockutils

from stable_rescue import exception


@contextlib.contextmanager
def still_rescuing(instance: "objects.Instance") -> Iterator[None]:
    """Hold the lock of an instance that is being rescued, and read it again.

    Nova holds the same lock while it deletes an instance. The lock is not re-entrant,
    so the caller must not hold it.

    :raises Refused: if another request has taken the instance over, such as a deletion
    :raises nova.exception.InstanceNotFound: if it was deleted
    """
    with lockutils.lock(instance.uuid):
        instance.refresh()
        if instance.task_state != task_states.RESCUING:
            raise exception.Refused(
                "the server is being changed by another request; try again later"
            )
        yield
