# SPDX-License-Identifier: Apache-2.0
"""The NICs of a definition whose ports no longer exist."""

from collections.abc import Collection

from stable_rescue.domain.document import Domain


def without_gone(
    domain: Domain, macs: Collection[str]
) -> tuple[Domain, tuple[str, ...]]:
    """Return a definition without the NICs that have no port any more (U25).

    Nothing else changes. If every NIC has a port, the same domain is returned.

    :param macs: the MAC addresses of the existing ports
    :returns: the definition, and the MAC addresses of the removed NICs
    """
    present = {mac.lower() for mac in macs}
    draft = domain.copy()
    removed = []
    for nic in list(draft.each_device("interface")):
        mac = nic.find("mac")
        address = "" if mac is None else mac.get("address", "").lower()
        if address and address not in present:
            draft.devices.remove(nic)
            removed.append(address)
    return (draft, tuple(removed)) if removed else (domain, ())
