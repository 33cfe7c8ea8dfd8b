# SPDX-License-Identifier: Apache-2.0
"""The TCP ports on which a definition's serial consoles listen."""

from collections.abc import Iterator, Mapping

from lxml import etree

from stable_rescue.domain import document
from stable_rescue.domain.document import Domain


def ports(domain: Domain) -> list[tuple[str, int]]:
    """Return host and port of each serial console that listens, each pair once.

    :raises InvalidDomain: if a port is not a number
    """
    return list(dict.fromkeys(_place(source) for source in _sources(domain)))


def with_ports(domain: Domain, moved: Mapping[tuple[str, int], int]) -> Domain:
    """Return a definition whose consoles listen on other ports; nothing else changes.

    :param moved: by host and port, the new port on the same host
    """
    draft = domain.copy()
    for source in _sources(draft):
        if _place(source) in moved:
            source.set("service", str(moved[_place(source)]))
    return draft


def _sources(domain: Domain) -> Iterator[etree._Element]:
    """Yield the <source> of each console; libvirt describes the first one twice."""
    for tag in ("serial", "console"):
        for device in domain.each_device(tag):
            if device.get("type") == "tcp":
                yield from device.iterfind("source[@mode='bind']")


def _place(source: etree._Element) -> tuple[str, int]:
    port = document.number(source.get("service"), "the port of a serial console")
    return source.get("host", ""), port
