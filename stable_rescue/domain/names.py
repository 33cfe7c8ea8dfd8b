# SPDX-License-Identifier: Apache-2.0
"""Find the disks that may get another name in the guest.

Disks on scsi, sata and usb share the names sd*. A guest assigns them in the order of
the controllers (F7, F31).
"""

from lxml import etree

from stable_rescue.domain import document, pci, recognize
from stable_rescue.domain.address import Drive
from stable_rescue.domain.document import Domain

_SHARING = ("scsi", "sata", "usb")


def overtaken(rescue: Domain) -> list[str]:
    """Return the targets of the disks that come after the rescue disk in the guest.

    Their addresses have not changed. The list is empty if the rescue disk is last, as
    it is on a controller that was added for it.
    """
    rescue_disk = recognize.rescue_disk(rescue)
    if rescue_disk is None:
        return []
    controllers = {
        (bus, document.index_of(controller)): controller
        for bus in _SHARING
        # Reversed, so that the first of several with one index (USB 2.0) is kept.
        for controller in reversed(list(rescue.controllers(bus)))
    }
    rescue_controller = controllers.get(_controller_of(rescue_disk))
    if rescue_controller is None:
        return []
    others = [c for c in controllers.values() if c is not rescue_controller]
    later = set(pci.behind(rescue, rescue_controller, others))
    return [
        document.target_of(disk)[0]
        for disk in rescue.disks()
        if controllers.get(_controller_of(disk)) in later
    ]


def _controller_of(disk: etree._Element) -> tuple[str, int]:
    """Return the bus and the controller index of a disk.

    The index is -1 if the disk has no name that others share.
    """
    bus = document.target_of(disk)[1]
    drive, usb = Drive.of(disk), disk.find("address[@type='usb']")
    if bus not in _SHARING or disk.get("device") == "cdrom":
        return bus, -1
    if usb is not None:
        return bus, document.number(usb.get("bus"), "the bus of a USB address")
    return bus, -1 if drive is None else drive.controller
