# SPDX-License-Identifier: Apache-2.0
"""The named edits that make a rescue definition out of a server's own.

Each works on a copy, in place, and returns what it did and by which rule.
"""

from dataclasses import dataclass

from lxml import etree

from stable_rescue.domain import controllers, document, nvram, recognise
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


@dataclass(frozen=True)
class Edit:
    """One edit: its name, what it changed, and the rule that asks for it."""

    name: str
    what: str
    rule: str


@dataclass(frozen=True)
class Kernel:
    """A rescue image's own kernel, as files of the host."""

    path: str
    ramdisk: str | None = None
    command_line: str | None = None


def strip_boot(domain: Draft) -> list[Edit]:
    """Drop every boot order and direct kernel boot (DESIGN.md, edit 1)."""
    done = []
    os_element = domain.root.find("os")
    assert os_element is not None  # Domain.parse() has seen os/type
    for tag, rule in (("boot", "LIBVIRT F3"), *((t, "U13") for t in _DIRECT_KERNEL)):
        for child in os_element.findall(tag):
            _remove(child)
            done.append(Edit("boot", f"dropped <os><{tag}>", rule))
    # Of any device: a virtiofs filesystem can have one, too.
    for device in domain.each_device():
        for boot in device.findall("boot"):
            _remove(boot)
            what = f"dropped boot order {boot.get('order')} of a {device.tag!s}"
            done.append(Edit("boot", what, "LIBVIRT F3"))
    return done


def protect_nvram(domain: Draft, copy: NvramCopy | None) -> list[Edit]:
    """Swap the NVRAM for a private copy, where there is one (DESIGN.md, edit 6)."""
    if copy is None:
        return []
    return [Edit("nvram", nvram.redirect(domain, copy), "LIBVIRT F2")]


def swap_config_drive(domain: Draft) -> list[Edit]:
    """Have the config drive read the regenerated one, in its slot (edit 5, U3).

    A domain without a config drive is left as it is.
    """
    done = []
    for disk in domain.disks():
        source = disk.find("source")
        if source is None:
            continue
        for key in recognise.SOURCE_KEYS:
            value = source.get(key, "")
            if value.endswith(recognise.CONFIG_DRIVE):
                source.set(key, value + recognise.RESCUE_SUFFIX)
                what = f"{document.target_of(disk)[0]} reads the new config drive"
                done.append(Edit("config drive", what, "U3"))
    return done


def boot_kernel(domain: Draft, kernel: Kernel | None) -> list[Edit]:
    """Boot the rescue image's own kernel, where it has one (DESIGN.md, edit 1)."""
    os_element = domain.root.find("os")
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


def add_rescue_disk(
    domain: Draft, medium: Medium, device: str, bus: str, gaps: bool = False
) -> list[Edit]:
    """Add the rescue disk behind all others, and the controller that it needs.

    (DESIGN.md, edits 2 and 3.)

    :param gaps: where there is no room behind the others, take a gap
    :raises NoRoom: where there is no room for it
    :raises InvalidDomain: where the medium or the domain is malformed
    """
    disk = medium.element()
    disk.set("device", device)
    return _add_last(domain, disk, bus, gaps, recognise.RESCUE_ALIAS)


def add_config_drive(
    domain: Draft, drive: Medium, bus: str, gaps: bool = False
) -> list[Edit]:
    """Add a config drive behind all others, for the rescue alone (U3).

    :param gaps: where there is no room behind the others, take a gap
    :raises NoRoom: where there is no room for it
    :raises InvalidDomain: where the drive or the domain is malformed
    """
    disk = drive.element()
    return _add_last(domain, disk, bus, gaps, recognise.CONFIG_DRIVE_ALIAS)


def _add_last(
    domain: Draft, disk: etree._Element, bus: str, gaps: bool, alias: str
) -> list[Edit]:
    """Add a disk behind all others; the rescue disk is the one that boots."""
    boots = alias == recognise.RESCUE_ALIAS
    seat = controllers.seat(domain, bus, gaps)
    name = _next_target(domain, bus)
    device = disk.get("device")
    etree.SubElement(disk, "target", dev=name, bus=bus)
    if device == "cdrom":
        etree.SubElement(disk, "readonly")
    if boots:
        etree.SubElement(disk, "boot", order="1")
    if bus == "virtio":
        _share_iothread(domain, disk)
    etree.SubElement(disk, "alias", name=alias)
    disk.append(seat.address)
    domain.append_device(disk)
    done = [Edit("controller", f"added {what}", "LIBVIRT F4") for what in seat.added]
    where = " ".join(f"{k}={v}" for k, v in seat.address.attrib.items())
    what = f"added {device} {name} on {bus} at {where}"
    if boots:
        done.append(Edit("rescue disk", f"{what}, boot order 1", "LIBVIRT F7"))
    else:
        done.append(Edit("config drive", what, "U3"))
    if seat.in_gap:
        what = f"{name} sits in a gap: disks behind it change their names in the guest"
        done.append(Edit("gap", what, "LIBVIRT F7"))
    return done


def _share_iothread(domain: Domain, disk: etree._Element) -> None:
    """Give a disk the I/O thread that the first one on virtio has, if any (U27)."""
    driver = disk.find("driver")
    for other in domain.disks("virtio"):
        theirs = other.find("driver[@iothread]")
        if theirs is not None and driver is not None:
            driver.set("iothread", str(theirs.get("iothread")))
            return


def _next_target(domain: Domain, bus: str) -> str:
    """Return the target name after the highest that shares the bus's prefix.

    Never one far away: libvirt adds controllers to reach such a name (LIBVIRT.md).
    """
    prefix = _PREFIXES[bus]
    names = (document.target_of(disk)[0] for disk in domain.disks())
    used = [_place_of(n[2:]) for n in names if n.startswith(prefix)]
    return prefix + _letters(1 + max(used, default=-1))


def _letters(place: int) -> str:
    """Return a, b ... z, aa, ab ... for 0, 1 ... 25, 26, 27."""
    text = ""
    place += 1
    while place:
        place, letter = divmod(place - 1, 26)
        text = chr(ord("a") + letter) + text
    return text


def _place_of(letters: str) -> int:
    """Return the inverse of :func:`_letters`; -1 for what is no disk's name."""
    place = 0
    for letter in letters:
        if not "a" <= letter <= "z":
            return -1
        place = place * 26 + ord(letter) - ord("a") + 1
    return place - 1


def _remove(element: etree._Element) -> None:
    """Remove an element and keep the white space behind it in good order."""
    parent = element.getparent()
    assert parent is not None
    previous = element.getprevious()
    if element.getnext() is None:
        if previous is not None:
            previous.tail = element.tail
        else:
            parent.text = element.tail
    parent.remove(element)
