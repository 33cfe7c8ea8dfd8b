# SPDX-License-Identifier: Apache-2.0
"""Is it a rescue definition, ours or Nova's?"""

from collections.abc import Iterator

from lxml import etree

from stable_rescue.domain.document import Domain

# A user alias (libvirt keeps those that begin with ua-) marks the disk as ours.
RESCUE_ALIAS = "ua-stable-rescue"
CONFIG_DRIVE_ALIAS = "ua-stable-rescue-config-drive"
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


def has_config_drive(domain: Domain) -> bool:
    """Say whether a domain has a config drive of Nova's."""
    return any(name.endswith(CONFIG_DRIVE) for name in _sources(domain))


def is_rescue(domain: Domain) -> bool:
    """Say whether a definition is that of a rescue, ours or one of Nova's own."""
    if rescue_disk(domain) is not None:
        return True
    return any(name.endswith(RESCUE_DISK) for name in _sources(domain))


def _sources(domain: Domain) -> Iterator[str]:
    """Yield what the disks read: files, devices, names in a pool."""
    for disk in domain.disks():
        source = disk.find("source")
        if source is not None:
            yield from (source.get(key, "") for key in SOURCE_KEYS)
