# SPDX-License-Identifier: Apache-2.0
"""The current sources of a rescued server's disks, from libvirt and from Cinder.

The record's definitions are as old as the rescue. Since then a snapshot may have moved
the guest to other files (U36), and a host reboot may have renamed devices (U16).
"""

import dataclasses
from collections.abc import Callable

from nova import context as nova_context
from nova import objects
from nova.virt.libvirt import driver as libvirt_driver

from stable_rescue import nova_internals
from stable_rescue.domain import mapping, recognize, sources
from stable_rescue.domain.document import Domain, target_of
from stable_rescue.domain.edits import Edit
from stable_rescue.domain.mapping import BlockDevices
from stable_rescue.storage import volumes
from stable_rescue.storage.record import Record, State
from stable_rescue.storage.store import store_of
from stable_rescue.virt import guest


def follow(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    record: Record,
) -> Record:
    """Take the sources of the disks from libvirt's definition (U36).

    libvirt notes each change in the definition of a running guest, and in the one that
    it starts next. A volume may also have been detached, by a request from before the
    rescue. Both definitions of the returned record, and unrescue.xml, have the
    newest sources. In a stock rescue, other disks have the same targets, so only
    unrescue.xml may be newer than the record. Errors of libvirt propagate.
    """
    current = None if record.is_stock else guest.current(driver, instance)
    if current is None:
        return _update(instance, record, lambda domain: (domain, []))
    detached = _detached(context, instance, record, current)
    return _update(
        instance, record, lambda domain: _followed(domain, current, detached)
    )


def _followed(
    domain: Domain, current: Domain, detached: frozenset[str]
) -> tuple[Domain, list[Edit]]:
    remaining, removed = sources.without(domain, detached)
    followed, edits = sources.carried(remaining, current)
    return followed, [*removed, *edits]


def _detached(
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    record: Record,
    current: Domain,
) -> frozenset[str]:
    """Return the targets of disks that neither libvirt nor Nova knows any more."""
    missing = _targets(Domain.parse(record.original_xml)) - _targets(current)
    if not missing:
        return frozenset()
    expected = volumes.expected(nova_internals.block_device_info(context, instance))
    return missing - {*expected.volumes.values(), *expected.local.values()}


def _targets(domain: Domain) -> frozenset[str]:
    return frozenset(target_of(disk)[0] for disk in domain.disks())


def without_detached(
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    record: Record,
) -> Record:
    """Leave out the volumes that were detached in a stock rescue (U36).

    A request from before the rescue may have arrived after it. The rescue definition
    has no volumes, so only Nova's mapping says which ones are left. In a stable rescue,
    :func:`follow` leaves them out.
    """
    if not record.is_stock:
        return record
    original = Domain.parse(record.original_xml)
    if not mapping.detached_volumes(original, BlockDevices()):
        return record  # no volume at all
    devices = volumes.expected(nova_internals.block_device_info(context, instance))
    detached = mapping.detached_volumes(original, devices)
    return _update(instance, record, lambda domain: sources.without(domain, detached))


def follow_since_plan(
    driver: libvirt_driver.LibvirtDriver,
    instance: "objects.Instance",
    prepared: Record,
) -> Record:
    """Take the sources that have changed since a rescue was planned (U36).

    A snapshot takes no lock, so it may have moved the guest to other files just before
    its power-off. All other sources stay: the plan may have newer ones than libvirt.
    Errors of libvirt propagate.
    """
    planned = Domain.parse(prepared.defined_xml)
    current = guest.current(driver, instance)
    if prepared.is_stock and current is not None and recognize.is_rescue(current):
        return prepared  # other disks have the same targets
    return _update(
        instance,
        prepared,
        lambda domain: sources.carried(domain, current or planned, planned),
    )


def reconnect(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    record: Record,
) -> Record:
    """Connect the volumes of a guest that is off (U16).

    After a reboot of the host, a volume may have another path. Both definitions of the
    returned record, and unrescue.xml, have the current paths.

    :raises Refused: if a volume cannot be connected
    """
    disks = volumes.connect_again(
        driver, context, instance, Domain.parse(record.original_xml)
    )
    return _update(instance, record, lambda domain: sources.refreshed(domain, disks))


def _update(
    instance: "objects.Instance",
    record: Record,
    update: Callable[[Domain], tuple[Domain, list[Edit]]],
) -> Record:
    store = store_of(instance)
    saved = None
    if record.state in (State.RESCUED, State.ENDING):
        # unrescue.xml is written more often than the record. Before that state, the
        # file may be one that an earlier rescue has left.
        saved = store.load_original()
    saved = saved or Domain.parse(record.original_xml)
    original, edits = update(saved)
    if edits:
        store.save_original_if_space(original.to_xml())
    updated = dataclasses.replace(record, original_xml=original.to_xml())
    if record.is_stock:
        # The same target is another disk in the rescue, which has no volumes.
        return updated
    rescue, _edits = update(Domain.parse(record.rescue_xml))
    return dataclasses.replace(updated, rescue_xml=rescue.to_xml())
