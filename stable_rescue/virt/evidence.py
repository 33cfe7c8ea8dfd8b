# SPDX-License-Identifier: Apache-2.0
"""Note in a rescue's report what was done; never while the guest is off or paused."""

import functools
import hashlib
from collections.abc import Callable
from typing import Any

from nova import conf as nova_conf
from nova import context as nova_context
from nova import objects
from nova.virt.libvirt import driver as libvirt_driver
from oslo_log import log as logging

from stable_rescue import nova_internals
from stable_rescue.domain import compare, counters, overlays, secrets, sources
from stable_rescue.domain.document import Domain, target_of
from stable_rescue.outcome import Outcome
from stable_rescue.storage import reports
from stable_rescue.storage.record import Record
from stable_rescue.virt import guest

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)


def _optional(note: Callable[..., None]) -> Callable[..., None]:
    """Log the errors of a function instead of raising them."""

    @functools.wraps(note)
    def noting(
        driver: libvirt_driver.LibvirtDriver,
        instance: "objects.Instance",
        *args: Any,
    ) -> None:
        try:
            note(driver, instance, *args)
        except Exception:
            LOG.warning(
                "Could not write the report of a rescue; continuing without it",
                exc_info=True,
                instance=instance,
            )

    return noting


@_optional
def prepared(
    driver: libvirt_driver.LibvirtDriver,
    instance: "objects.Instance",
    context: nova_context.RequestContext,
    record: Record,
) -> None:
    """Begin the report of a rescue that is prepared."""
    original, rescue = map(Domain.parse, (record.original_xml, record.rescue_xml))
    reports.begin(
        instance.uuid,
        {
            "host": CONF.host,
            "project_id": context.project_id,
            "request_id": context.request_id,
            "prepared_at": reports.now(),
            "image": {"id": record.image_id, "checksum": record.image_checksum},
            "kind": record.kind,
            "memory_dump": record.memory_dump,
            "original_sha256": digest_of(original),
            "rescue_sha256": digest_of(rescue),
            "disks": [] if record.is_stock else disks_of(original, rescue),
        },
    )


@_optional
def started(driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance") -> None:
    """Note that the rescue system has been started, and with which definition."""
    reports.add(instance.uuid, "started", definition_sha256=_defined(driver, instance))


@_optional
def discarded(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance"
) -> None:
    """Note that a prepared rescue was not wanted any more."""
    reports.add(instance.uuid, "discarded")


@_optional
def booted(
    driver: libvirt_driver.LibvirtDriver,
    instance: "objects.Instance",
    result: str,
    problem: str | None,
) -> None:
    """Note what the firmware has booted."""
    details = {} if problem is None else {"problem": problem}
    reports.add(instance.uuid, "boot verified", result=result, **details)


@_optional
def ending(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance", record: Record
) -> None:
    """Note, before the rescue system ends, what was written to the original disks."""
    stats = nova_internals.block_stats(driver, instance)
    targets = overlays.targets(Domain.parse(record.rescue_xml))
    written = counters.writes_to_originals(stats, targets)
    reports.add(instance.uuid, "ending", writes_to_originals=written)


@_optional
def ended(driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance") -> None:
    """Note that the server is restored, and with which definition."""
    reports.add(instance.uuid, "ended", definition_sha256=_defined(driver, instance))


@_optional
def recovered(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance", outcome: Outcome
) -> None:
    """Note that an interrupted rescue was recovered."""
    reports.add(
        instance.uuid,
        "recovered",
        outcome=outcome.name.lower(),
        definition_sha256=_defined(driver, instance),
    )


def digest_of(definition: Domain) -> str:
    """Return the sha256 of a definition without its secrets."""
    text = secrets.without_secrets(definition).to_xml()
    return hashlib.sha256(text.encode()).hexdigest()


def disks_of(original: Domain, rescue: Domain) -> list[dict[str, str | None]]:
    """Return the server's disks, and the overlays that a rescue puts above them.

    ``path`` is the file or the block device of the disk; None if QEMU itself connects
    to its storage.
    """
    protected = overlays.targets(rescue)
    above = {target_of(disk)[0]: sources.path_of(disk) for disk in rescue.disks()}
    disks = []
    for disk in original.disks():
        target = target_of(disk)[0]
        disks.append(
            {
                "target": target,
                "serial": sources.serial_of(disk) or None,
                "source": compare.device_of(disk).source,
                "path": sources.path_of(disk),
                "overlay": above[target] if target in protected else None,
            }
        )
    return disks


def _defined(driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance") -> str:
    return digest_of(guest.defined(nova_internals.guest_of(driver, instance)))
