# SPDX-License-Identifier: Apache-2.0
"""Check that libvirt has completed a definition.

libvirt adds devices, addresses and controllers to a definition that is defined. If the
rescue disk took an address before that, libvirt's additions could move or rename the
server's devices (F7).
"""

from lxml import etree

from stable_rescue import exception
from stable_rescue.domain import document, invariants, machine
from stable_rescue.domain.document import Domain

# The devices that get an address on every supported machine.
_ADDRESSED = (
    *("disk", "interface", "rng", "memballoon", "filesystem", "vsock", "shmem"),
    *("hub", "redirdev"),
)
# The devices that get an address if the value at a path is one of these.
_ADDRESSED_IF = {
    "channel": ("target/@type", ("virtio",)),
    "console": ("target/@type", ("virtio",)),
    "input": ("@bus", ("usb", "virtio")),
    "hostdev": ("@mode", ("subsystem",)),
    "watchdog": ("@model", ("i6300esb",)),
}
_ADDRESSED_CONTROLLERS = ("ide", "sata", "scsi", "usb", "virtio-serial")

# The controllers that libvirt always adds. For pc none is required here, because the
# migratable form of a running domain leaves its implicit controllers out.
_ALWAYS = {
    machine.Family.PC: (),
    machine.Family.Q35: ("pci", "sata", "usb"),
    machine.Family.VIRT: ("pci",),
}


def parse(text: str) -> Domain:
    """Return the domain of a complete definition.

    :raises Refused: if libvirt has not completed it, naming what is missing
    :raises InvalidDomain: if the text is not a domain definition
    """
    root = document.parse_element(text)
    if root.tag == "domain" and root.find("name") is not None:
        for tag in ("uuid", "devices"):
            if root.find(tag) is None:
                raise _refused(f"there is no <{tag}>")
    domain = Domain.parse(text)
    check(domain)
    return domain


def check(domain: Domain) -> None:
    """Check that a definition is complete.

    :raises Refused: if libvirt has not completed it, naming what is missing
    """
    for kind in _ALWAYS[machine.family_of(domain)]:
        if not any(document.index_of(c) == 0 for c in domain.controllers(kind)):
            raise _refused(f"there is no {kind} controller 0")
    for device in domain.each_device():
        missing = _missing(device)
        if missing:
            name = document.target_of(device)[0] or device.get("type", "")
            what = " ".join(filter(None, (str(device.tag), name)))
            raise _refused(f"{what} has no {missing}")
    try:
        invariants.check_unique(domain)
    except exception.InvariantBroken as exc:
        raise _refused(str(exc)) from exc


def _refused(reason: str) -> exception.Refused:
    return exception.Refused(
        f"{reason}: the definition is not as libvirt returns it; define it, and use "
        "the output of virsh dumpxml"
    )


def _missing(device: etree._Element) -> str | None:
    """Return what libvirt would still add to a device; None if nothing."""
    if device.tag == "disk" and not document.target_of(device)[1]:
        return "bus"
    if device.tag == "controller" and not device.get("index"):
        return "index"
    if device.get("model") == "none" or device.find("address") is not None:
        return None
    return "address" if _gets_address(device) else None


def _gets_address(device: etree._Element) -> bool:
    tag = str(device.tag)
    if tag == "controller":
        return device.get("type") in _ADDRESSED_CONTROLLERS
    if tag in _ADDRESSED_IF:
        path, values = _ADDRESSED_IF[tag]
        return any(value in values for value in device.xpath(path))
    return tag in _ADDRESSED
