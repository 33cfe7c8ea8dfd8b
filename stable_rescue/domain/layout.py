# SPDX-License-Identifier: Apache-2.0
"""The address of every device, to compare two definitions of one domain (F1)."""

from collections import Counter

from lxml import etree

from stable_rescue.domain import document
from stable_rescue.domain.document import Domain

# The identity of a device, and its address and source; empty if it has neither.
Layout = dict[tuple[str, ...], tuple[str, ...]]

# libvirt adds these to one form of a definition and not to the other.
_IMPLICIT = ("emulator", "audio", "console")
_SOURCE_KEYS = ("file", "dev", "dir", "protocol", "name", "pool", "volume")


def layout_of(domain: Domain, with_sources: bool = True) -> Layout:
    """Return the address of every device.

    :param with_sources: include what each disk reads
    """
    layout: Layout = {}
    times: Counter[tuple[str, ...]] = Counter()
    for device in domain.each_device():
        if device.tag in _IMPLICIT or _is_of_chipset(device):
            continue
        identity = _identity(device)
        times[identity] += 1
        layout[(*identity, str(times[identity]))] = _place(device, with_sources)
    return layout


def differences(first: Layout, second: Layout) -> list[tuple[str, ...]]:
    """Return the identities of the devices whose place differs, sorted.

    A controller that only one layout has is ignored, because libvirt leaves implicit
    controllers out of the migratable form.
    """
    return sorted(
        identity
        for identity in first.keys() | second.keys()
        if first.get(identity) != second.get(identity)
        and (identity[0] != "controller" or identity in first.keys() & second.keys())
    )


def _is_of_chipset(device: etree._Element) -> bool:
    """Return True if a device is part of the machine, and has no address.

    The migratable form lacks PS/2 devices and, with libvirt 11.3, q35's watchdog (F40).
    """
    return (device.tag == "input" and device.get("bus") == "ps2") or (
        device.tag == "watchdog" and device.get("model") == "itco"
    )


def _identity(device: etree._Element) -> tuple[str, ...]:
    tag = str(device.tag)
    if tag == "disk":
        return (tag, *document.target_of(device))
    if tag == "interface":
        mac = device.find("mac")
        return (tag, mac.get("address", "") if mac is not None else "")
    keys = ("type", "index", "model", "bus")
    return (tag, *(device.get(key, "") for key in keys))


def _place(device: etree._Element, with_source: bool) -> tuple[str, ...]:
    address = device.find("address")
    parts = [] if address is None else sorted(address.attrib.items())
    source = device.find("source") if device.tag == "disk" else None
    if source is not None and with_source:
        parts += [(key, source.get(key, "")) for key in _SOURCE_KEYS]
    return tuple(f"{key}={value}" for key, value in parts)
