# SPDX-License-Identifier: Apache-2.0
"""A running domain's definition, made fit to be defined again."""

from stable_rescue.domain.document import Domain


def settle(text: str) -> str:
    """Return a live definition without what libvirt found out at run time.

    A disk's backing chain is probed at each start; one that is written down would
    be taken for the operator's wish (LIBVIRT F1).

    :raises InvalidDomain: where the text is no definition
    """
    domain = Domain.parse(text)
    for disk in domain.disks():
        for chain in disk.findall("backingStore"):
            disk.remove(chain)
    for resource in domain.root.findall("resource"):
        domain.root.remove(resource)
    return domain.to_xml()
