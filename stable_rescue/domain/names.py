# SPDX-License-Identifier: Apache-2.0
"""Which disks of the server may get another name in the guest.

Disks on scsi, sata and usb share the names sd*, which the guest gives in the order of
their controllers (LIBVIRT F7).
"""

from lxml import etree

from stable_rescue.domain import document, pci, recognise
from stable_rescue.domain.address import Drive
from stable_rescue.domain.document import Domain

_SHARING = ("scsi", "sata", "usb")


def overtaken(after: Domain) -> list[str]:
    """Return the targets of the disks that a rescue definition's disk comes before.

    Their addresses are unmoved. Empty where the rescue disk is last of all, as it is
    on a controller of its own.
    """
    rescue = recognise.rescue_disk(after)
    own = None if rescue is None else _controller(after, rescue)
    if own is None:
        return []
    found = []
    for disk in after.disks():
        theirs = _controller(after, disk)
        if theirs is None or theirs is own:
            continue
        if pci.last_of(after, [own, theirs]) is theirs:
            found.append(document.target_of(disk)[0])
    return found


def _controller(domain: Domain, disk: etree._Element) -> etree._Element | None:
    """Return the controller of a disk whose name is shared among buses."""
    bus = document.target_of(disk)[1]
    if bus not in _SHARING or disk.get("device") == "cdrom":
        return None
    drive, usb = Drive.of(disk), disk.find("address[@type='usb']")
    if usb is not None:
        index = document.number(usb.get("bus"), "a USB address's bus")
    elif drive is not None:
        index = drive.controller
    else:
        return None
    for controller in domain.controllers(bus):
        if document.index_of(controller) == index:
            return controller
    return None
