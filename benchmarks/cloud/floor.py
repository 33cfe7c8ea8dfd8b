# SPDX-License-Identifier: Apache-2.0
"""The floor: what libvirt alone takes to exchange a guest for another one."""

from __future__ import annotations

import time

from benchmarks.cloud.operation import Sample, Subject
from lab.services.libvirtd import URI


def definition(domain: str) -> str:
    """Return the definition that libvirt starts a domain with next."""
    import libvirt  # only the lab's environment has it

    connection = libvirt.open(URI)
    try:
        flags = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
        return str(connection.lookupByName(domain).XMLDesc(flags))
    finally:
        connection.close()


def exchange(subject: Subject, definition: str, image: str) -> Sample:
    """Destroy a guest and create it with another definition; return what that took.

    libvirt gets the definition while the guest runs, so nothing but destroy and create
    lies between the stop and the start.

    :param image: what the new guest boots from; the return is after its boot
    """
    import libvirt  # only the lab's environment has it

    connection = libvirt.open(URI)
    try:
        domain = connection.defineXML(definition)
        began = time.time()
        domain.destroy()
        domain.create()
        ended = time.time()
    finally:
        connection.close()
    sample = subject.sample(began, ended)
    subject.wait_for_boot(image)
    return sample
