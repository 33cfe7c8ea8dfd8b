# SPDX-License-Identifier: Apache-2.0
"""Does a definition have the disks that Nova's database gives the server?"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from lxml import etree

from stable_rescue.domain import document, recognise, sources
from stable_rescue.domain.document import Domain

# Nova's names for the disks that it makes itself, on this host or in its pool.
_LOCAL = re.compile(r"disk(\.local|\.swap|\.config|\.eph\d+)?")


@dataclass(frozen=True)
class BlockDevices:
    """A server's block device mapping, as far as a definition can tell of it.

    ``volumes`` has the target name of each volume by its serial, which is its id;
    ``local`` that of each disk of Nova's own by its name (disk, disk.eph0,
    disk.swap). A target name may be empty: not known.
    """

    volumes: Mapping[str, str] = field(default_factory=dict)
    local: Mapping[str, str] = field(default_factory=dict)


def differences(domain: Domain, expected: BlockDevices) -> tuple[str, ...]:
    """Return in what a definition and the mapping differ, for a person to read.

    A volume is known by its serial, or, where the disk has none, as one that was made
    by hand or is a floppy, by its target; a disk of Nova's own by name or target.
    """
    disks = list(domain.disks())
    serials = {sources.serial_of(disk) for disk in disks} - {""}
    bare = {document.target_of(d)[0] for d in disks if not sources.serial_of(d)}
    names = {_name(disk, domain.uuid) for disk in disks}
    targets = {document.target_of(disk)[0] for disk in disks}
    found = [
        f"volume {serial} is attached to the server as {target or 'a disk'}, but "
        "its definition does not have it"
        for serial, target in expected.volumes.items()
        if serial not in serials and target not in bare - {""}
    ]
    found += [
        f"the server has a {name} ({target or 'no target'}), but its definition "
        "does not have it"
        for name, target in expected.local.items()
        if name not in names and target not in targets - {""}
    ]
    known = {*expected.volumes.values(), *expected.local.values()} - {""}
    for disk in disks:
        serial, target = sources.serial_of(disk), document.target_of(disk)[0]
        if (
            serial in expected.volumes
            or (not serial and target in known)
            or _LOCAL.fullmatch(_name(disk, domain.uuid))
            or disk.find("source") is None  # an empty drive
        ):
            continue
        what = f"volume {serial} ({target})" if serial else f"disk {target}"
        found.append(f"{what} is in the server's definition, but not attached to it")
    return tuple(found)


def _name(disk: etree._Element, uuid: str) -> str:
    """Return the last part of what a disk reads, without what pools put before."""
    source = disk.find("source")
    if source is None:
        return ""
    values = (source.get(key) for key in recognise.SOURCE_KEYS)
    text = next((value for value in values if value), "")
    return text.rpartition("/")[2].removeprefix(f"{uuid}_")
