# SPDX-License-Identifier: Apache-2.0
"""How a guest is asked to shut down, and how soon its end is noticed."""

import time

from nova import objects
from nova.virt.libvirt import driver as libvirt_driver
from oslo_log import log as logging

from stable_rescue import nova_internals

LOG = logging.getLogger(__name__)

#: How often libvirt is asked, in case an event is lost. Asking more often takes CPU
#: time from guests that shut down, if there are many of them.
_LOOK_SECONDS = 0.5


def wait_for(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance"
) -> bool:
    """Ask a running guest to shut down, repeatedly, and wait until it has.

    A guest may miss a request while it boots. Errors of libvirt propagate, except those
    of the requests.

    :returns: False if the guest still runs after the server's shutdown timeout
    """
    timeout, retry_interval = nova_internals.power_off_values(instance)
    now = time.monotonic()
    deadline, next_request, next_look = now + timeout, now, now
    with nova_internals.watched(instance) as events:
        while now < deadline:
            if now >= next_request:
                nova_internals.request_shutdown(driver, instance)
                next_request = now + retry_interval
            # Nova looks once a second, so its guests are off for half a second on
            # average before anybody notices (U35).
            reported = events.wait(min(deadline, next_request, next_look) - now)
            now = time.monotonic()
            if reported or now >= next_look:
                if not nova_internals.is_active(driver, instance):
                    return True
                next_look = now + _LOOK_SECONDS
    LOG.info("The guest did not shut down in %d seconds", timeout, instance=instance)
    return False
