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
    if rescue is None:
        return []
    controllers = {
        (bus, document.index_of(controller)): controller
        for bus in _SHARING
        # The first of an index: USB 2.0 companions share theirs.
        for controller in reversed(list(after.controllers(bus)))
    }
    own = controllers.get(_seat_of(rescue))
    if own is None:
        return []
    others = (
        controller for controller in controllers.values() if controller is not own
    )
    later = set(pci.behind(after, own, others))
    return [
        document.target_of(disk)[0]
        for disk in after.disks()
        if controllers.get(_seat_of(disk)) in later
    ]


def _seat_of(disk: etree._Element) -> tuple[str, int]:
    """Return bus and controller of a disk whose name is shared; index -1: of none."""
    bus = document.target_of(disk)[1]
    drive, usb = Drive.of(disk), disk.find("address[@type='usb']")
    if bus not in _SHARING or disk.get("device") == "cdrom":
        return bus, -1
    if usb is not None:
        return bus, document.number(usb.get("bus"), "a USB address's bus")
    return bus, -1 if drive is None else drive.controller
