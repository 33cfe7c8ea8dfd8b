# SPDX-License-Identifier: Apache-2.0
"""The edits that turn a copy of the original definition into the rescue definition.

Each edit changes a draft in place and returns what it did, with the rule that asks for
it. The edits are numbered E1 to E6 in the project's design page.
"""

from dataclasses import dataclass

from lxml import etree

from stable_rescue.domain import address, controllers, document, nvram, recognize
from stable_rescue.domain.document import Domain, Draft
from stable_rescue.domain.medium import Medium
from stable_rescue.domain.nvram import NvramCopy

_DIRECT_KERNEL = ("kernel", "initrd", "cmdline")
_PREFIXES = {
    "virtio": "vd",
    "scsi": "sd",
    "usb": "sd",
    "sata": "sd",
    "ide": "hd",
    "fdc": "fd",
}
# The rule for the controllers that a rescue disk needs, by its bus.
_CONTROLLER_RULES = {
    "virtio": "F16",
    "scsi": "F4",
    "usb": "F14",
    "sata": "F18",
    "ide": "F17",
    "fdc": "F33",
}


@dataclass(frozen=True)
class Edit:
    """One edit: its name, what it changed, and the number of the rule for it."""

    name: str
    what: str
    rule: str


@dataclass(frozen=True)
class Kernel:
    """The rescue image's kernel and ramdisk as files of the compute host."""

    path: str
    ramdisk: str | None = None
    command_line: str | None = None


def strip_boot(draft: Draft) -> list[Edit]:
    """Remove every boot order and direct kernel boot (E1)."""
    edits = []
    os_element = draft.root.find("os")
    assert os_element is not None  # Domain.parse() has checked os/type
    for tag, rule in (("boot", "F12"), *((t, "U13") for t in _DIRECT_KERNEL)):
        for child in os_element.findall(tag):
            _remove(child)
            edits.append(Edit("boot", f"dropped <os><{tag}>", rule))
    # Not only disks and NICs: a virtiofs filesystem can have a boot order, too.
    for device in draft.each_device():
        for boot in device.findall("boot"):
            _remove(boot)
            what = f"dropped boot order {boot.get('order')} of a {device.tag!s}"
            edits.append(Edit("boot", what, "F3"))
    return edits


def boot_kernel(draft: Draft, kernel: Kernel | None) -> list[Edit]:
    """Boot the rescue image's own kernel if it has one (E1)."""
    os_element = draft.root.find("os")
    if kernel is None or os_element is None:
        return []
    for tag, text in (
        ("kernel", kernel.path),
        ("initrd", kernel.ramdisk),
        ("cmdline", kernel.command_line),
    ):
        if text:
            etree.SubElement(os_element, tag).text = text
    return [Edit("kernel", f"boots the rescue image's own {kernel.path}", "U13")]


def protect_nvram(draft: Draft, copy: NvramCopy | None) -> list[Edit]:
    """Replace the NVRAM by a private copy if there is one (E6)."""
    if copy is None:
        return []
    return [Edit("nvram", what, "F2") for what in nvram.redirect(draft, copy)]


def swap_config_drive(draft: Draft) -> list[Edit]:
    """Make the config drive, if any, read the regenerated one in its slot (E5)."""
    edits = []
    for disk in draft.disks():
        source = disk.find("source")
        if source is None:
            continue
        for key in recognize.SOURCE_KEYS:
            value = source.get(key, "")
            if value.endswith(recognize.CONFIG_DRIVE):
                source.set(key, value + recognize.RESCUE_SUFFIX)
                what = f"{document.target_of(disk)[0]} reads the new config drive"
                edits.append(Edit("config drive", what, "U3"))
    return edits


def add_config_drive(
    draft: Draft, drive: Medium, bus: str, gaps: bool = False
) -> list[Edit]:
    """Add a config drive behind all other disks (E5).

    :param gaps: take a gap between other devices if there is no room behind them
    :raises NoRoom: if there is no room on the bus
    :raises InvalidDomain: if the drive or the domain is malformed
    """
    return _append_disk(draft, drive.element(), bus, gaps, boots=False)


def add_rescue_disk(
    draft: Draft, medium: Medium, device: str, bus: str, gaps: bool = False
) -> list[Edit]:
    """Add the rescue disk behind all other disks, and its controller (E2, E3).

    :param gaps: take a gap between other devices if there is no room behind them
    :raises NoRoom: if there is no room on the bus
    :raises InvalidDomain: if the medium or the domain is malformed
    """
    disk = medium.element()
    disk.set("device", device)
    return _append_disk(draft, disk, bus, gaps, boots=True)


def _append_disk(
    draft: Draft, disk: etree._Element, bus: str, gaps: bool, *, boots: bool
) -> list[Edit]:
    """Append a disk: the rescue disk, which boots, or a config drive, which does not.

    libvirt keeps the alias, so that the disk is recognized in a rescue definition.
    """
    seat = controllers.seat(draft, bus, gaps)
    name = _next_target(draft, bus)
    device = disk.get("device")
    etree.SubElement(disk, "target", dev=name, bus=bus)
    if device == "cdrom":  # libvirt rejects read-only disks on some buses (F24)
        etree.SubElement(disk, "readonly")
    if boots:
        etree.SubElement(disk, "boot", order="1")
    if bus == "virtio":
        _share_iothread(draft, disk)
    alias = recognize.RESCUE_ALIAS if boots else recognize.CONFIG_DRIVE_ALIAS
    etree.SubElement(disk, "alias", name=alias)
    disk.append(seat.address)
    draft.append_device(disk)
    rule = _CONTROLLER_RULES[bus]
    edits = [Edit("controller", f"added {what}", rule) for what in seat.added]
    what = f"added {device} {name} on {bus} at {address.described(disk)}"
    if boots:
        edits.append(Edit("rescue disk", f"{what}, boot order 1", "F7"))
    else:
        edits.append(Edit("config drive", what, "U3"))
    if seat.in_gap:
        what = f"{name} sits in a gap: disks behind it change their names in the guest"
        edits.append(Edit("gap", what, "F7"))
    return edits


def _share_iothread(draft: Draft, disk: etree._Element) -> None:
    """Give a disk the I/O thread of the first virtio disk that has one (U27, F35)."""
    driver = disk.find("driver")
    for other in draft.disks("virtio"):
        other_driver = other.find("driver[@iothread]")
        if other_driver is not None and driver is not None:
            driver.set("iothread", str(other_driver.get("iothread")))
            return


def _next_target(domain: Domain, bus: str) -> str:
    """Return the target name after the highest one with the prefix of the bus (F20)."""
    prefix = _PREFIXES[bus]
    names = (document.target_of(disk)[0] for disk in domain.disks())
    used = [_number_of(n[2:]) for n in names if n.startswith(prefix)]
    return prefix + _letters_of(1 + max(used, default=-1))


def _letters_of(number: int) -> str:
    """Return a, b ... z, aa, ab ... for 0, 1 ... 25, 26, 27 ..."""
    letters = ""
    number += 1
    while number:
        number, letter = divmod(number - 1, 26)
        letters = chr(ord("a") + letter) + letters
    return letters


def _number_of(letters: str) -> int:
    """Return the inverse of :func:`_letters_of`; -1 if this is not a disk's name."""
    number = 0
    for letter in letters:
        if not "a" <= letter <= "z":
            return -1
        number = number * 26 + ord(letter) - ord("a") + 1
    return number - 1


def _remove(element: etree._Element) -> None:
    """Remove an element and keep the indentation of what follows."""
    parent = element.getparent()
    assert parent is not None
    previous = element.getprevious()
    if element.getnext() is None:
        if previous is not None:
            previous.tail = element.tail
        else:
            parent.text = element.tail
    parent.remove(element)
