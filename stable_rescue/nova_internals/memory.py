# SPDX-License-Identifier: Apache-2.0
"""The memory of an instance's guest in libvirt: pause, dump and resume."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from nova import exception as nova_exception

from stable_rescue import steps
from stable_rescue.nova_internals.guests import guest_of

if TYPE_CHECKING:
    from nova import objects
    from nova.virt.libvirt import driver as libvirt_driver

#: The formats of a dump, by libvirt's number. ELF is written if none is named.
DUMP_FORMATS = {"kdump-snappy": 3, "kdump-lzo": 2, "kdump-zlib": 1, "elf": 0}


@steps.changes("pause the guest")
def pause_guest(
    driver: libvirt_driver.LibvirtDriver, instance: objects.Instance
) -> None:
    """Pause a guest; one that is paused stays paused. Errors of libvirt propagate.

    :raises nova.exception.InstanceNotFound: if libvirt has no definition of it
    """
    guest_of(driver, instance).pause()


@steps.changes("resume the guest")
def resume_guest(
    driver: libvirt_driver.LibvirtDriver, instance: objects.Instance
) -> None:
    """Resume a guest that is paused. Errors of libvirt propagate.

    :raises nova.exception.InstanceNotFound: if libvirt has no definition of it
    """
    guest_of(driver, instance).resume()


@steps.changes("dump the memory")
def dump_memory(
    driver: libvirt_driver.LibvirtDriver,
    instance: objects.Instance,
    path: str,
    formats: Iterable[str],
) -> str:
    """Dump the memory of a paused guest to a file that exists; return the format.

    libvirt keeps the owner and the mode of the file, and flushes its content to the
    disk (F38). The guest stays paused. Errors of libvirt propagate.

    :param formats: names from ``DUMP_FORMATS``; the first that QEMU has is used
    :raises nova.exception.InstanceNotFound: if libvirt has no definition of it
    """
    import libvirt

    domain = guest_of(driver, instance)._domain
    *others, last = formats
    for name in others:
        try:
            domain.coreDumpWithFormat(
                path, DUMP_FORMATS[name], libvirt.VIR_DUMP_MEMORY_ONLY
            )
        except Exception as exc:
            if _code_of(exc) != libvirt.VIR_ERR_INVALID_ARG:
                raise
        else:
            return name
    domain.coreDumpWithFormat(path, DUMP_FORMATS[last], libvirt.VIR_DUMP_MEMORY_ONLY)
    return last


def is_dumping(
    driver: libvirt_driver.LibvirtDriver, instance: objects.Instance
) -> bool:
    """Return True if libvirt has a job for a guest, such as a dump of its memory.

    Errors of libvirt propagate.
    """
    import libvirt

    try:
        domain = guest_of(driver, instance)._domain
    except nova_exception.InstanceNotFound:
        return False
    if not domain.isActive():
        return False
    try:
        return bool(domain.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE)
    except Exception as exc:
        # libvirt has a job, but QEMU has not begun or has just ended it (F38).
        if _code_of(exc) != libvirt.VIR_ERR_OPERATION_FAILED:
            raise
        return True


def is_paused(driver: libvirt_driver.LibvirtDriver, instance: objects.Instance) -> bool:
    """Return True if a guest is paused because somebody has asked for it.

    QEMU itself pauses a guest after an I/O error, for example. Errors of libvirt
    propagate.
    """
    import libvirt

    try:
        state, reason = guest_of(driver, instance)._domain.state()
    except nova_exception.InstanceNotFound:
        return False
    asked = (libvirt.VIR_DOMAIN_PAUSED_USER, libvirt.VIR_DOMAIN_PAUSED_DUMP)
    return state == libvirt.VIR_DOMAIN_PAUSED and reason in asked


def _code_of(error: Exception) -> int | None:
    """Return libvirt's number of an error; None if it is not libvirt's."""
    code: int | None = getattr(error, "get_error_code", lambda: None)()
    return code
