# SPDX-License-Identifier: Apache-2.0
"""The floor: what libvirt alone takes to exchange a guest for another one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

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


def exchange(subject: Subject, definition: str) -> Sample:
    """Destroy a guest and create it with another definition; return what that took.

    libvirt gets the definition while the guest runs, so nothing but destroy and create
    lies between the stop and the start.
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
    return subject.sample(began, ended)


def exchange_in_turn(
    subjects: Sequence[Subject], definitions: Sequence[str], image: str
) -> dict[str, Any]:
    """Exchange guests one after the other; return what that took.

    No other order is shorter for a single guest, as no two start at the same time. The
    result has the seconds until the last guest runs, and the downtime of each.

    :param image: what the new guests boot from; the return is after their boots
    """
    began = time.time()
    samples = [
        exchange(subject, definition)
        for subject, definition in zip(subjects, definitions, strict=True)
    ]
    total = time.time() - began
    for subject in subjects:
        subject.wait_for_boot(image)
    return {"total": total, "downtimes": [sample.downtime for sample in samples]}
