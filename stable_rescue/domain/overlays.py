# SPDX-License-Identifier: Apache-2.0
"""Overlays: the rescue system writes to new files, and no disk changes (E8, F8).

A disk keeps its target, address, serial and settings, but the guest writes to a qcow2
file, and reads from the original disk what it has not written. The definition names
that disk and its format as the backing store of the file. Neither libvirt nor QEMU
therefore looks for a format in what a guest has written.
"""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from lxml import etree

from stable_rescue import exception
from stable_rescue.domain import address, document, recognize
from stable_rescue.domain.document import Domain, Draft
from stable_rescue.domain.edits import Edit

# libvirt accepts these in <disk> as well as in <source>; a backing store has only the
# latter.
_ACCESS = ("auth", "encryption")
_TYPES = ("file", "block", "network")
_FORMATS = ("raw", "qcow2")
_TARGET = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True)
class Overlay:
    """The file that a disk's writes go to.

    ``limit`` is the largest size of the file in bytes (F37); None if it may grow to the
    size of the disk.
    """

    path: str
    limit: int | None = None


@dataclass(frozen=True)
class Overlays:
    """The folder of a server's overlays, and their limits by target name."""

    folder: str
    limits: Mapping[str, int] = field(default_factory=dict)

    def overlay_of(self, target: str) -> Overlay:
        """Return the overlay of the disk with this target name."""
        name = f"{recognize.OVERLAY}{target}{recognize.RESCUE_SUFFIX}"
        return Overlay(f"{self.folder}/{name}", self.limits.get(target))


def put_under_disks(draft: Draft, overlays: Overlays) -> list[Edit]:
    """Give every disk that the guest could write to an overlay (E8).

    A CD-ROM and a read-only disk need none: QEMU opens them read-only. Nor does a disk
    that was made for the rescue, such as its config drive.

    :raises Refused: if the guest could write to storage that cannot have an overlay
    """
    _check_other_storage(draft)
    edits = []
    for disk in draft.disks():
        if _is_written(disk):
            _check(disk)
            target = document.target_of(disk)[0]
            overlay = overlays.overlay_of(target)
            put_on(disk, overlay)
            what = f"the guest writes to {overlay.path} instead of {target}"
            edits.append(Edit("overlay", what, "F8"))
    return edits


def findings(rescue: Domain) -> tuple[str, ...]:
    """Return what to know about a rescue with overlays."""
    notes = [
        f"disk {document.target_of(disk)[0]} is encrypted; what the rescue system "
        "writes to it is not encrypted on the compute host until the rescue ends"
        for disk in rescue.disks()
        if recognize.overlay_path(disk) is not None
        and disk.find("backingStore//encryption") is not None
    ]
    notes += [
        f"the PCI device at {address.described(device)} is passed through to the "
        "server; if it stores data, what the rescue system writes to it stays"
        for device in rescue.each_device("hostdev")
        if device.get("type") == "pci"
    ]
    return tuple(notes)


def put_on(disk: etree._Element, overlay: Overlay) -> None:
    """Make a disk read and write an overlay, with its present source below."""
    source, driver = disk.find("source"), _driver_of(disk)
    assert source is not None  # a disk without one is not written
    backing = etree.Element("backingStore", type=disk.get("type", "file"))
    image_format = format_of(disk)
    etree.SubElement(backing, "format", type=image_format)
    below = copy.deepcopy(source)
    below.attrib.pop("startupPolicy", None)
    for tag in _ACCESS:
        below.extend(disk.findall(tag))
    backing.append(below)
    chain = disk.find("backingStore")
    if chain is not None:
        backing.append(chain)
    elif image_format == "raw":
        # Nothing is below; libvirt need not look. The header of a qcow2 file names
        # what is below the file, with its format, as at each start of the server.
        etree.SubElement(backing, "backingStore")
    for element in backing.iter("source", "backingStore"):
        element.attrib.pop("index", None)  # libvirt counts them in a running guest
    above = etree.Element("source", file=overlay.path)
    if overlay.limit is not None:
        slices = etree.SubElement(above, "slices")
        size = str(overlay.limit)
        etree.SubElement(slices, "slice", type="storage", offset="0", size=size)
        if driver.get("error_policy") is None:
            # By default, QEMU pauses the guest when the overlay is full, and only an
            # operator could let it go on.
            driver.set("error_policy", "report")
    _replace(disk, source, above, backing)
    driver.set("type", "qcow2")
    disk.set("type", "file")


def taken_off(disk: etree._Element) -> Overlay | None:
    """Remove the overlay of a disk and return it; None if the disk has none.

    :raises InvalidDomain: if the disk has an overlay without a backing store
    """
    path = recognize.overlay_path(disk)
    if path is None:
        return None
    above, driver, backing = disk.find("source"), _driver_of(disk), _backing_of(disk)
    assert above is not None  # it has the path
    size = above.find("slices/slice")
    limit = None if size is None else document.number(size.get("size"), "a slice")
    below, chain = backing.find("source"), backing.find("backingStore")
    assert below is not None  # _backing_of() has checked it
    image_format = backing.find("format")
    disk.remove(backing)
    _replace(disk, above, below, chain)
    driver.set("type", "raw" if image_format is None else image_format.get("type", ""))
    if limit is not None and driver.get("error_policy") == "report":
        del driver.attrib["error_policy"]
    disk.set("type", backing.get("type", "file"))
    return Overlay(path, limit)


def format_of(disk: etree._Element) -> str:
    """Return the format of what a disk reads; libvirt's default is raw."""
    driver = disk.find("driver")
    return "raw" if driver is None else driver.get("type") or "raw"


def source_below(disk: etree._Element) -> etree._Element | None:
    """Return the <source> of a disk below its overlay, if it has one.

    :raises InvalidDomain: if the disk has an overlay without a backing store
    """
    if recognize.overlay_path(disk) is None:
        return disk.find("source")
    return _backing_of(disk).find("source")


def targets(rescue: Domain) -> list[str]:
    """Return the target names of the disks with an overlay, in order."""
    return [
        document.target_of(disk)[0]
        for disk in rescue.disks()
        if recognize.overlay_path(disk) is not None
    ]


def _backing_of(disk: etree._Element) -> etree._Element:
    backing = disk.find("backingStore")
    if backing is None or backing.find("source") is None:
        raise exception.InvalidDomain(
            f"disk {document.target_of(disk)[0]} has an overlay without a backing store"
        )
    return backing


def _is_written(disk: etree._Element) -> bool:
    """Return True if the guest could change something on the host with a disk."""
    source = disk.find("source")
    if source is None or disk.get("device") == "cdrom":
        return False
    if disk.find("readonly") is not None:
        return False
    return not any(
        source.get(key, "").endswith(recognize.RESCUE_SUFFIX)
        for key in recognize.SOURCE_KEYS
    )


def _check(disk: etree._Element) -> None:
    """Check that a disk can have an overlay.

    :raises Refused: if it cannot
    """
    target, kind = document.target_of(disk)[0], disk.get("type", "file")
    image_format = format_of(disk)
    if disk.get("device") == "lun":
        problem = "passes SCSI commands to the storage"
    elif disk.find("shareable") is not None:
        problem = "is shared with other servers, which may change it meanwhile"
    elif disk.find("transient") is not None:
        problem = "loses its changes anyway"
    elif kind not in _TYPES:
        problem = f"is of type {kind}"
    elif image_format not in _FORMATS:
        problem = f"has the format {image_format}"
    elif not _TARGET.fullmatch(target):
        problem = "has a target name that is not usual"
    else:
        return
    raise exception.Refused(
        f"disk {target} {problem}, so what a rescue system writes to it cannot be "
        "discarded; use a rescue image without hw_rescue_writes=discard"
    )


def _check_other_storage(domain: Domain) -> None:
    """Check that the guest has no storage but disks.

    :raises Refused: if it has
    """
    for filesystem in domain.each_device("filesystem"):
        if filesystem.find("readonly") is None:
            _refuse("a share, which the guest may write to")
    for memory in domain.each_device("memory"):
        if memory.get("model") in ("nvdimm", "virtio-pmem"):
            _refuse("persistent memory")
    for hostdev in domain.each_device("hostdev"):
        if hostdev.get("type") in ("scsi", "scsi_host"):
            _refuse("a SCSI device that is passed through")


def _refuse(what: str) -> None:
    raise exception.Refused(
        f"the server has {what}, so what a rescue system writes there cannot be "
        "discarded; use a rescue image without hw_rescue_writes=discard"
    )


def _driver_of(disk: etree._Element) -> etree._Element:
    driver = disk.find("driver")
    if driver is None:
        driver = etree.Element("driver", name="qemu", type="raw")
        disk.insert(0, driver)
    return driver


def _replace(
    disk: etree._Element,
    old: etree._Element,
    source: etree._Element,
    backing: etree._Element | None,
) -> None:
    """Replace the <source> of a disk, followed by a <backingStore> if there is one."""
    place, tail = disk.index(old), old.tail
    disk.remove(old)
    for offset, element in enumerate((source, backing)):
        if element is not None:
            etree.indent(element, level=3)
            element.tail = tail
            disk.insert(place + offset, element)
