# SPDX-License-Identifier: Apache-2.0
"""Which device sits where: what two definitions of one domain are compared by."""

from collections import Counter

from lxml import etree

from stable_rescue.domain import document
from stable_rescue.domain.document import Domain

# Identity and address of a device; its address is empty where it has none.
Layout = dict[tuple[str, ...], tuple[str, ...]]

# libvirt adds these by itself, to one form of a definition and not to the other.
_IMPLICIT = ("emulator", "audio", "console")
_SOURCE_KEYS = ("file", "dev", "dir", "protocol", "name", "pool", "volume")


def layout_of(domain: Domain) -> Layout:
    """Return the address, and for a disk also the source, of every device."""
    found: Layout = {}
    times: Counter[tuple[str, ...]] = Counter()
    for device in domain.each_device():
        if device.tag in _IMPLICIT or _is_ps2(device):
            continue
        known = _identity(device)
        times[known] += 1
        found[(*known, str(times[known]))] = _place(device)
    return found


def differences(first: Layout, second: Layout) -> list[tuple[str, ...]]:
    """Return the devices that the two do not have in the same place, sorted.

    A controller that only one of them has is passed over: libvirt leaves implicit
    ones out of the migratable form.
    """
    return sorted(
        known
        for known in first.keys() | second.keys()
        if first.get(known) != second.get(known)
        and (known[0] != "controller" or known in first.keys() & second.keys())
    )


def _is_ps2(device: etree._Element) -> bool:
    return device.tag == "input" and device.get("bus") == "ps2"


def _identity(device: etree._Element) -> tuple[str, ...]:
    tag = str(device.tag)
    if tag == "disk":
        return (tag, *document.target_of(device))
    if tag == "interface":
        mac = device.find("mac")
        return (tag, mac.get("address", "") if mac is not None else "")
    keys = ("type", "index", "model", "bus")
    return (tag, *(device.get(key, "") for key in keys))


def _place(device: etree._Element) -> tuple[str, ...]:
    address = device.find("address")
    parts = [] if address is None else sorted(address.attrib.items())
    source = device.find("source") if device.tag == "disk" else None
    if source is not None:
        parts += [(key, source.get(key, "")) for key in _SOURCE_KEYS]
    return tuple(f"{key}={value}" for key, value in parts)
