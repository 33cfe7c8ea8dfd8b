# SPDX-License-Identifier: Apache-2.0
"""Helpers for the compute host: versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nova import version

if TYPE_CHECKING:
    from nova.virt.libvirt import driver as libvirt_driver

Version = tuple[int, int, int]


@dataclass(frozen=True)
class HostVersions:
    """What a compute host runs; Nova's version is text, such as 34.0.0."""

    nova: str
    libvirt: Version
    hypervisor: Version


def versions_of(driver: libvirt_driver.LibvirtDriver) -> HostVersions:
    """Return the versions of a host; errors of libvirt propagate."""
    connection = driver._host.get_connection()
    return HostVersions(
        str(version.version_string()),
        _split(int(connection.getLibVersion())),
        _split(int(connection.getVersion())),
    )


def _split(number: int) -> Version:
    """Return a version from libvirt's form: 9000002 is 9.0.2."""
    return number // 1_000_000, number // 1_000 % 1_000, number % 1_000
