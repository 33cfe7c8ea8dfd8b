# SPDX-License-Identifier: Apache-2.0
"""The NICs of a definition whose ports are gone."""

from collections.abc import Collection

from stable_rescue.domain.document import Domain


def without_gone(definition: str, macs: Collection[str]) -> tuple[str, list[str]]:
    """Return a definition without the NICs that have no port any more (UPSTREAM U25).

    Nothing else changes; with no NIC gone, not a byte.

    :param macs: the addresses of the ports that there are
    :returns: the definition, and the addresses of the NICs that are left out
    :raises InvalidDomain: where it is no definition
    """
    domain = Domain.parse(definition)
    present = {mac.lower() for mac in macs}
    gone = []
    for nic in list(domain.each_device("interface")):
        mac = nic.find("mac")
        address = "" if mac is None else mac.get("address", "").lower()
        if address and address not in present:
            domain.devices.remove(nic)
            gone.append(address)
    return (domain.to_xml(), gone) if gone else (definition, [])
