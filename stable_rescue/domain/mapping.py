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
# A volume's ID is the serial of its disk. Other disks of Nova have no serial.
_VOLUME_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class BlockDevices:
    """The disks of a server according to Nova's block device mapping.

    ``volumes`` has the target name of each volume by its serial, which is its ID.
    ``local`` has the target name of each local disk by its name (disk, disk.eph0,
    disk.swap). A target name is empty if Nova does not know it.
    """

    volumes: Mapping[str, str] = field(default_factory=dict)
    local: Mapping[str, str] = field(default_factory=dict)


def disks_of(domain: Domain, volumes: Mapping[str, str]) -> dict[str, etree._Element]:
    """Return the disks of those volumes that a definition has, by the volume's serial.

    A volume is identified by its serial. If no disk has this serial, the volume is the
    disk with its target, unless that has the serial of another volume: floppies and
    disks added by hand have no serial, and a disk keeps its serial when Nova swaps its
    volume for another one.

    :param volumes: the target name of each volume by its serial
    """
    # The rescue disk may use the target name of a volume without a disk.
    rescue_disk = recognize.rescue_disk(domain)
    disks = [disk for disk in domain.disks() if disk is not rescue_disk]
    by_serial = {sources.serial_of(disk): disk for disk in disks}
    by_target = {
        document.target_of(disk)[0]: disk
        for disk in disks
        if sources.serial_of(disk) not in volumes
    }
    candidates = {
        serial: by_serial.get(serial, by_target.get(target) if target else None)
        for serial, target in volumes.items()
    }
    return {serial: disk for serial, disk in candidates.items() if disk is not None}


def detached_volumes(domain: Domain, expected: BlockDevices) -> frozenset[str]:
    """Return the targets of volumes that a definition has and the mapping has not."""
    mapped = disks_of(domain, expected.volumes).values()
    return frozenset(
        document.target_of(disk)[0]
        for disk in domain.disks()
        if _VOLUME_ID.fullmatch(sources.serial_of(disk))
        and not any(disk is volume for volume in mapped)
    )


def differences(domain: Domain, expected: BlockDevices) -> tuple[str, ...]:
    """Return the differences between a definition and the mapping, for a person.

    A volume is identified as in :func:`disks_of`, a local disk by its name or its
    target.
    """
    disks = list(domain.disks())
    volumes = disks_of(domain, expected.volumes)
    names = {_name(disk, domain.uuid) for disk in disks}
    targets = {document.target_of(disk)[0] for disk in disks}
    differing = [
        f"volume {serial} is attached to the server as {target or 'a disk'}, but "
        "the server's definition does not have it"
        for serial, target in expected.volumes.items()
        if serial not in volumes
    ]
    differing += [
        f"the server has a {name} ({target or 'no target'}), but its definition "
        "does not have it"
        for name, target in expected.local.items()
        if name not in names and target not in targets - {""}
    ]
    local_targets = {*expected.local.values()} - {""}
    for disk in disks:
        serial, target = sources.serial_of(disk), document.target_of(disk)[0]
        if (
            any(disk is volume for volume in volumes.values())
            or (not serial and target in local_targets)
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
