# SPDX-License-Identifier: Apache-2.0
"""Is a definition as libvirt gives it back, with all that libvirt fills in?

What libvirt adds to a definition, and where, is its own affair: a rescue disk placed
before that is known could move or rename what is added after it.
"""

from lxml import etree

from stable_rescue import exception
from stable_rescue.domain import document, invariants, machine
from stable_rescue.domain.document import Domain

# The devices that libvirt gives an address to on every machine that we support.
_ADDRESSED = (
    *("disk", "interface", "rng", "memballoon", "filesystem", "vsock", "shmem"),
    *("hub", "redirdev"),
)
# Those that it gives one to as one of their kinds: the path and values that tell.
_ADDRESSED_KINDS = {
    "channel": ("target/@type", ("virtio",)),
    "console": ("target/@type", ("virtio",)),
    "input": ("@bus", ("usb", "virtio")),
    "hostdev": ("@mode", ("subsystem",)),
    "watchdog": ("@model", ("i6300esb",)),
}
_CONTROLLERS = ("ide", "sata", "scsi", "usb", "virtio-serial")

# The controllers that libvirt adds where they are not given. (Of pc's, the migratable
# form tells nothing.)
_ALWAYS = {
    machine.Family.PC: (),
    machine.Family.Q35: ("pci", "sata", "usb"),
    machine.Family.VIRT: ("pci",),
}


def parse(text: str) -> Domain:
    """Return the domain of a definition that lacks nothing.

    :raises Refused: if libvirt has not completed it, naming what is missing
    :raises InvalidDomain: if it is not a definition
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
    """Check that a definition lacks nothing.

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
        f"{reason}: the definition is not as libvirt gives it back; define it, and "
        "take what virsh dumpxml prints"
    )


def _missing(device: etree._Element) -> str:
    """Return what a device lacks that libvirt would fill in."""
    if device.tag == "disk" and not document.target_of(device)[1]:
        return "bus"
    if device.tag == "controller" and not device.get("index"):
        return "index"
    if device.get("model") == "none" or device.find("address") is not None:
        return ""
    of_controllers = device.tag == "controller" and device.get("type") in _CONTROLLERS
    path, kinds = _ADDRESSED_KINDS.get(str(device.tag), ("@none", ()))
    of_kind = any(value in kinds for value in device.xpath(path))
    addressed = of_controllers or of_kind or device.tag in _ADDRESSED
    return "address" if addressed else ""
