# SPDX-License-Identifier: Apache-2.0
"""Compare the disks of a definition with Nova's block device mapping."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from lxml import etree

from stable_rescue.domain import document, recognize, sources
from stable_rescue.domain.document import Domain

# Nova's names for the disks that it makes on the compute host or in a pool.
_LOCAL = re.compile(r"disk(\.local|\.swap|\.config|\.eph\d+)?")


@dataclass(frozen=True)
class BlockDevices:
    """The disks of a server according to Nova's block device mapping.

    ``volumes`` has the target name of each volume by its serial, which is its ID.
    ``local`` has the target name of each local disk by its name (disk, disk.eph0,
    disk.swap). A target name is empty if Nova does not know it.
    """

    volumes: Mapping[str, str] = field(default_factory=dict)
    local: Mapping[str, str] = field(default_factory=dict)


def differences(domain: Domain, expected: BlockDevices) -> tuple[str, ...]:
    """Return the differences between a definition and the mapping, for a person.

    A volume is identified by its serial; if the disk has none (floppies, disks added by
    hand), by its target. A local disk is identified by its name or its target.
    """
    disks = list(domain.disks())
    serials = {sources.serial_of(disk) for disk in disks} - {""}
    bare = {document.target_of(d)[0] for d in disks if not sources.serial_of(d)}
    names = {_name(disk, domain.uuid) for disk in disks}
    targets = {document.target_of(disk)[0] for disk in disks}
    differing = [
        f"volume {serial} is attached to the server as {target or 'a disk'}, but "
        "the server's definition does not have it"
        for serial, target in expected.volumes.items()
        if serial not in serials and target not in bare - {""}
    ]
    differing += [
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
        differing.append(
            f"{what} is in the server's definition, but not attached to the server"
        )
    return tuple(differing)


def _name(disk: etree._Element, uuid: str) -> str:
    """Return Nova's name of a local disk: without path, pool and instance UUID."""
    source = disk.find("source")
    if source is None:
        return ""
    values = (source.get(key) for key in recognize.SOURCE_KEYS)
    text = next((value for value in values if value), "")
    return text.rpartition("/")[2].removeprefix(f"{uuid}_")
