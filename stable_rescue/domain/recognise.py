# SPDX-License-Identifier: Apache-2.0
"""Is it a rescue definition, ours or Nova's?"""

from lxml import etree

from stable_rescue.domain.document import Domain

# A user alias (libvirt keeps those that begin with ua-) marks the disk as ours.
RESCUE_ALIAS = "ua-stable-rescue"
# What Nova calls its disks, whatever an image backend puts before the name.
RESCUE_SUFFIX = ".rescue"
RESCUE_DISK = f"disk{RESCUE_SUFFIX}"
CONFIG_DRIVE = "disk.config"
# The attributes of a <source> that say what is read, by its type.
SOURCE_KEYS = ("file", "dev", "name", "volume")


def rescue_disk(domain: Domain) -> etree._Element | None:
    """Return the rescue disk of a rescue definition of ours, or None."""
    for disk in domain.disks():
        if disk.find(f"alias[@name='{RESCUE_ALIAS}']") is not None:
            return disk
    return None


def is_rescue(domain: Domain) -> bool:
    """Say whether a definition is that of a rescue, ours or one of Nova's own."""
    if rescue_disk(domain) is not None:
        return True
    sources = (disk.find("source") for disk in domain.disks())
    return any(
        source.get(key, "").endswith(RESCUE_DISK)
        for source in sources
        if source is not None
        for key in SOURCE_KEYS
    )
