# SPDX-License-Identifier: Apache-2.0
"""Turn the definition of a running domain into one that can be defined again."""

from stable_rescue.domain.document import Domain


def persistent_form(running: Domain) -> Domain:
    """Return a live definition without what libvirt detected at run time.

    libvirt probes the backing chain of a disk at each start. A chain that is part of
    the definition would be taken as the operator's wish (F1).
    """
    domain = running.copy()
    for disk in domain.disks():
        for chain in disk.findall("backingStore"):
            disk.remove(chain)
    for resource in domain.root.findall("resource"):
        domain.root.remove(resource)
    return domain
