# SPDX-License-Identifier: Apache-2.0
"""Which disk a guest was booted from, by what the hypervisor counts.

A boot loader reads a kernel, which is larger than all that firmware reads of a disk
while it looks for boot loaders and partitions. Seen with SeaBIOS and OVMF: of a blank
disk 0.5 KiB, of one with a damaged boot loader 2 KiB, of one that boots 10 MiB.
"""

from collections.abc import Mapping

from lxml import etree

from stable_rescue.domain import document, recognize
from stable_rescue.domain.document import Domain

_BYTES = 2 * 2**20
#: A floppy is read from the boot loader on, but holds 1.44 or 2.88 MB in all.
_BYTES_OF_FLOPPY = 64 * 2**10


def bytes_of_boot(disk: etree._Element) -> int:
    """Return what a guest that boots from a disk reads of it, at least."""
    return _BYTES_OF_FLOPPY if disk.get("device") == "floppy" else _BYTES


def targets(rescue: Domain) -> list[str]:
    """Return the target names of the disks, the rescue disk first.

    :returns: an empty list if no disk is booted: there is no rescue disk, or QEMU
        itself loads a kernel
    """
    rescue_disk = recognize.rescue_disk(rescue)
    if rescue_disk is None or rescue.root.find("os/kernel") is not None:
        return []
    disks = sorted(rescue.disks(), key=lambda disk: disk is not rescue_disk)
    return [document.target_of(disk)[0] for disk in disks]


def booted_disk(domain: Domain, bytes_read: Mapping[str, int]) -> str | None:
    """Return the target name of the disk that was booted; None if none was, yet.

    :param bytes_read: what the guest has read of each disk, by target name; of several
        disks, the first one that was booted counts
    """
    disks = {document.target_of(disk)[0]: disk for disk in domain.disks()}
    for target, count in bytes_read.items():
        if target in disks and count >= bytes_of_boot(disks[target]):
            return target
    return None
