# SPDX-License-Identifier: Apache-2.0
"""Which request may change a server's guest."""

import contextlib
from collections.abc import Iterator

from nova import context as nova_context
from nova import objects
from nova.compute import task_states
from nova.virt.libvirt import driver as libvirt_driver
from oslo_concurrency import lockutils
from oslo_log import log as logging

from stable_rescue import exception
from stable_rescue.virt import guest

LOG = logging.getLogger(__name__)


@contextlib.contextmanager
def still_rescuing(instance: "objects.Instance", wait: bool = True) -> Iterator[None]:
    """Hold the lock of an instance that is being rescued, and read it again.

    Nova holds the same lock while it deletes an instance. The lock is not re-entrant,
    so the caller must not hold it.

    :param wait: wait for the lock
    :raises Refused: if another request has taken the instance over, such as a deletion
    :raises nova.exception.InstanceNotFound: if it was deleted
    :raises AcquireLockFailedException: of oslo.concurrency, if the lock is not free
    """
    with lockutils.lock(instance.uuid, blocking=wait):
        instance.refresh()
        if instance.task_state != task_states.RESCUING:
            raise exception.Refused(
                "the server is being changed by another request; try again later"
            )
        yield


def start_after_refusal(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
) -> None:
    """Start a guest that Nova's manager has powered off for a rescue that is refused.

    An error is only logged, because the user has to read why the rescue was refused.
    """
    try:
        # The lock may be held by the manager of stable rescue, which recovers.
        with still_rescuing(instance, wait=False):
            guest.start_as_defined(driver, context, instance)
    except Exception:
        LOG.exception(
            "Could not start the guest again after its rescue was refused; start the "
            "server",
            instance=instance,
        )
