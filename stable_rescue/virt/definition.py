# SPDX-License-Identifier: Apache-2.0
"""The server's own definition, as libvirt has it."""

from nova.virt.libvirt import guest as libvirt_guest
from oslo_log import log as logging

from stable_rescue.domain import live
from stable_rescue.domain.document import Domain
from stable_rescue.domain.layout import differences, layout_of

LOG = logging.getLogger(__name__)


def read(guest: libvirt_guest.Guest) -> str:
    """Return the definition to derive a rescue from, with its secrets.

    What the guest sees is the live definition (LIBVIRT F1). Where the inactive one
    puts every device where the live one does, it is returned in its place: it is
    what was defined, without what libvirt adds at run time, so that unrescue can
    bring it back to the letter.

    :raises InvalidDomain: where libvirt's answer is no definition
    :raises libvirt.libvirtError: where libvirt does not answer
    """
    inactive = str(guest.get_xml_desc(dump_inactive=True, dump_sensitive=True))
    if not guest.is_active():
        return inactive
    running = str(guest.get_xml_desc(dump_sensitive=True, dump_migratable=True))
    moved = differences(
        layout_of(Domain.parse(running)), layout_of(Domain.parse(inactive))
    )
    if not moved:
        return inactive
    LOG.info(
        "The live and the inactive definition differ in %s; "
        "the rescue is derived from the live one",
        ", ".join(" ".join(device) for device in moved),
        instance_uuid=guest.uuid,
    )
    return live.settle(running)
