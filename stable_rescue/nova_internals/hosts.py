# SPDX-License-Identifier: Apache-2.0
"""Helpers for the compute host: libvirt without a driver, and versions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
    return _versions(driver._host.get_connection())


def versions_without_driver() -> HostVersions:
    """Return the versions of this host through a read-only connection.

    Errors of libvirt propagate.
    """
    with read_only_connection() as connection:
        return _versions(connection)


@contextlib.contextmanager
def read_only_connection() -> Iterator[Any]:
    """Connect to the libvirt that nova-compute uses, without changing anything.

    Everybody may connect in this way. Errors of libvirt propagate.
    """
    import libvirt
    from nova.virt.libvirt import driver as libvirt_driver

    connection = libvirt.openReadOnly(libvirt_driver.LibvirtDriver._uri())
    try:
        yield connection
    finally:
        connection.close()


def nova_version() -> str:
    """Return the version of Nova as text, such as 34.0.0."""
    return str(version.version_string())


def _versions(connection: Any) -> HostVersions:
    return HostVersions(
        nova_version(),
        _split(int(connection.getLibVersion())),
        _split(int(connection.getVersion())),
    )


def _split(number: int) -> Version:
    """Return a version from libvirt's form: 9000002 is 9.0.2."""
    return number // 1_000_000, number // 1_000 % 1_000, number % 1_000
