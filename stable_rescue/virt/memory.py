# SPDX-License-Identifier: Apache-2.0
"""Keep the memory of a guest before it is powered off for a rescue.

The guest is paused, so that its memory is of one moment, and is powered off without
running again. If the rescue does not get that far, the guest runs on.
"""

import time
from pathlib import Path

from nova import conf as nova_conf
from nova import objects
from nova.compute import vm_states
from nova.virt.libvirt import driver as libvirt_driver
from oslo_log import log as logging
from oslo_utils import timeutils, units

from stable_rescue import exception, nova_internals
from stable_rescue.domain import memory
from stable_rescue.domain.document import Domain
from stable_rescue.storage import memory_dump
from stable_rescue.storage.record import Record, State
from stable_rescue.virt import guest

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
# A recovery that waits longer fails, and is repeated.
_WAIT_SECONDS = 600.0


def decide(instance: "objects.Instance", original: Domain, is_active: bool) -> Path:
    """Return the path of a dump of a server's memory; nothing is changed.

    :raises Refused: if the memory cannot be dumped
    """
    check(original, is_active)
    return memory_dump.new_path(instance.uuid)


def check(original: Domain, is_active: bool) -> None:
    """Check that the memory of a server can be dumped now; nothing is changed.

    :raises Refused: if it cannot
    """
    memory.check(original)
    if not is_active:
        # An investigator must not take a rescue without a dump for one with it.
        raise exception.Refused(
            "the server is not running, so it has no memory to dump; use a rescue "
            "image without hw_rescue_memory=dump"
        )
    memory_dump.check(memory.size_of(original))


def check_again(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance"
) -> None:
    """Check, just before the rescue begins, that the memory can still be dumped.

    Errors of libvirt propagate.

    :raises Refused: if it cannot
    """
    nova_guest = nova_internals.guest_of(driver, instance)
    check(guest.defined(nova_guest), bool(nova_guest.is_active()))


def dump(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance", path: Path
) -> None:
    """Pause a guest and dump its memory. The guest stays paused.

    Errors of libvirt propagate; then call :func:`undo`.

    :raises OSError: if the file cannot be made or renamed
    """
    wanted = CONF.stable_rescue.memory_dump_format
    formats = [
        n for n in nova_internals.DUMP_FORMATS if wanted == "kdump" or n == "elf"
    ]
    temporary = str(memory_dump.temporary_path(path))
    memory_dump.make(path)
    LOG.info("Pausing the guest to dump its memory", instance=instance)
    with timeutils.StopWatch() as watch:
        nova_internals.pause_guest(driver, instance)
        written = nova_internals.dump_memory(driver, instance, temporary, formats)
        size = memory_dump.keep(path)
    LOG.info(
        "Dumped the memory in %.2f seconds: %d MiB as %s in %s",
        watch.elapsed(),
        size // units.Mi,
        written,
        path,
        instance=instance,
    )


def undo(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance", record: Record
) -> None:
    """Resume a guest that was paused for a dump, and remove an incomplete dump.

    A guest that is off, or runs its rescue system, is left alone. A dump that libvirt
    still writes for a killed nova-compute cannot be aborted (F38), and is waited for.
    Errors of libvirt propagate.

    :raises TimeoutError: if libvirt still writes the dump after 10 minutes
    :raises OSError: if the incomplete dump cannot be removed
    """
    if record.memory_dump is None:
        return
    if record.state in (State.PREPARED, State.BEGINNING):
        _wait_for_dump(driver, instance)
        if _is_to_be_resumed(driver, instance):
            LOG.info("Resuming the guest, whose rescue failed", instance=instance)
            nova_internals.resume_guest(driver, instance)
    memory_dump.remove_incomplete(Path(record.memory_dump))


def _is_to_be_resumed(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance"
) -> bool:
    """Return True if a guest is paused, and neither in its rescue nor by its user."""
    return (
        nova_internals.is_paused(driver, instance)
        and instance.vm_state != vm_states.PAUSED
        and not guest.is_rescue(driver, instance)
    )


def _wait_for_dump(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance"
) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while nova_internals.is_dumping(driver, instance):
        if time.monotonic() > deadline:
            raise TimeoutError("libvirt still dumps the guest's memory")
        time.sleep(_POLL_SECONDS)
