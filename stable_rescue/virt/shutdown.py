# SPDX-License-Identifier: Apache-2.0
"""How a guest is asked to shut down, and how soon its end is noticed."""

import time

from nova import objects
from nova.virt.libvirt import driver as libvirt_driver
from oslo_log import log as logging

from stable_rescue import nova_internals

LOG = logging.getLogger(__name__)

#: Nova looks once a second, so its guests are off for half a second on average before
#: anybody notices. Nova delays libvirt's event of a stopped guest by 15 seconds.
_POLL_SECONDS = 0.05


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
    deadline, next_request = now + timeout, now
    while now < deadline:
        if now >= next_request:
            nova_internals.request_shutdown(driver, instance)
            next_request = now + retry_interval
        if not nova_internals.is_active(driver, instance):
            return True
        time.sleep(_POLL_SECONDS)
        now = time.monotonic()
    LOG.info("The guest did not shut down in %d seconds", timeout, instance=instance)
    return False
