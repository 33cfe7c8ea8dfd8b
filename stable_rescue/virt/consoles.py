# SPDX-License-Identifier: Apache-2.0
"""The ports of the serial consoles of a guest that is about to be started (U21)."""

import contextlib
from collections.abc import Iterator

from nova import conf as nova_conf
from nova import objects
from oslo_log import log as logging

from stable_rescue import nova_internals
from stable_rescue.domain import consoles
from stable_rescue.domain.document import Domain

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)


@contextlib.contextmanager
def claimed(instance: "objects.Instance", xml: str) -> Iterator[str]:
    """Claim the ports of a definition that the block starts; yield the definition.

    Nova releases the ports of a guest whenever it powers the guest off, so another
    server may have one of them by now. The console then listens on another port. If
    the block fails, the ports are released.

    :raises nova.exception.SocketPortRangeExhaustedException: if no port is free
    :raises InvalidDomain: if the definition cannot be parsed
    """
    if not CONF.serial_console.enabled:
        yield xml
        return
    domain = Domain.parse(xml)
    moved = {}
    with contextlib.ExitStack() as claims:
        for host, port in consoles.ports(domain):
            usable = port
            if not nova_internals.claim_port(host, port):
                usable = nova_internals.acquire_port(host)
                moved[host, port] = usable
                LOG.info(
                    "A serial console of the server gets port %d, because port %d is "
                    "in use",
                    usable,
                    port,
                    instance=instance,
                )
            claims.callback(nova_internals.release_port, host, usable)
        yield consoles.with_ports(domain, moved).to_xml() if moved else xml
        claims.pop_all()
