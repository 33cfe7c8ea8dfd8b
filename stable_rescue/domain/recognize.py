# SPDX-License-Identifier: Apache-2.0
"""Recognize rescue definitions, of a stable and of a stock rescue."""

from collections.abc import Iterator

from lxml import etree

from stable_rescue.domain.document import Domain

# libvirt keeps user aliases, which begin with ua-.
RESCUE_ALIAS = "ua-stable-rescue"
CONFIG_DRIVE_ALIAS = "ua-stable-rescue-config-drive"
# Nova's names of disks. An image backend may put a path, pool or UUID before them.
RESCUE_SUFFIX = ".rescue"
RESCUE_DISK = f"disk{RESCUE_SUFFIX}"
CONFIG_DRIVE = "disk.config"
#: A file that a disk's writes go to is named overlay.TARGET.rescue. Nova's driver
#: removes files that end with .rescue when it unrescues a server.
OVERLAY = "overlay."
# The attributes of <source> that name what the disk reads; its type decides which one.
SOURCE_KEYS = ("file", "dev", "name", "volume")


def rescue_disk(domain: Domain) -> etree._Element | None:
    """Return the rescue disk of a stable rescue, or None if there is none."""
    for disk in domain.disks():
        if disk.find(f"alias[@name='{RESCUE_ALIAS}']") is not None:
            return disk
    return None


def has_config_drive(domain: Domain) -> bool:
    """Return True if a domain has a config drive that Nova made."""
    return any(name.endswith(CONFIG_DRIVE) for name in _sources(domain))


def is_rescue(domain: Domain) -> bool:
    """Return True if this is the definition of a stable or a stock rescue."""
    return any_rescue_disk(domain) is not None


def any_rescue_disk(domain: Domain) -> etree._Element | None:
    """Return the rescue disk of a stable or a stock rescue, or None."""
    disk = rescue_disk(domain)
    return stock_rescue_disk(domain) if disk is None else disk


def stock_rescue_disk(domain: Domain) -> etree._Element | None:
    """Return the first disk that reads Nova's rescue disk, or None."""
    for disk in domain.disks():
        if any(name.endswith(RESCUE_DISK) for name in _sources_of(disk)):
            return disk
    return None


def overlay_path(disk: etree._Element) -> str | None:
    """Return the path of the overlay that a disk's writes go to; None without one."""
    source = disk.find("source")
    path = None if source is None else source.get("file")
    return path if path is not None and is_overlay(path) else None


def is_overlay(path: str) -> bool:
    """Return True if a path leads to an overlay."""
    name = path.rpartition("/")[2]
    return name.startswith(OVERLAY) and name.endswith(RESCUE_SUFFIX)


def _sources(domain: Domain) -> Iterator[str]:
    """Yield what the disks read: files, devices, names in a pool."""
    for disk in domain.disks():
        yield from _sources_of(disk)


def _sources_of(disk: etree._Element) -> Iterator[str]:
    source = disk.find("source")
    if source is not None:
        yield from (source.get(key, "") for key in SOURCE_KEYS)
