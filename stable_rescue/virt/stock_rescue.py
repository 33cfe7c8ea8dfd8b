# SPDX-License-Identifier: Apache-2.0
"""Stock rescues: prepared and recorded as a stable one, or without a record.

What a stock rescue defines is up to Nova's driver. With the compute manager of stable
rescue, the image is checked and fetched before power-off, and the record lets the state
machine restore the server.

A rescue has no record if it was begun under Nova's manager or driver, or if the record
is lost. Then only the instance's vm_state, the definition in libvirt and unrescue.xml
show that the instance is rescued.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from nova import conf as nova_conf
from nova import context as nova_context
from nova import objects
from nova.compute import vm_states
from nova.virt.libvirt import driver as libvirt_driver
from oslo_log import log as logging

from stable_rescue import exception, nova_internals, steps
from stable_rescue.domain import recognize
from stable_rescue.outcome import Outcome
from stable_rescue.plan import RescueRequest
from stable_rescue.storage import inspection, medium
from stable_rescue.storage.known_rescue import KnownRescue
from stable_rescue.storage.medium import RescueMedium
from stable_rescue.storage.record import Record, State
from stable_rescue.storage.store import known_rescue, store_of
from stable_rescue.virt import guest, origin
from stable_rescue.virt.phase import phase
from stable_rescue.virt.preparation import Prepared
from stable_rescue.virt.refusal import refusing
from stable_rescue.virt.rollback import Rollback

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)

_RESCUE = steps.changes("rescue as Nova's driver does")
_BUILD_AND_START = steps.changes("build and start a domain")


def prepare(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    image: dict[str, Any],
) -> Prepared:
    """Check and fetch the image of a stock rescue, and write the record.

    The guest is not touched. Nova's driver uses a rescue disk that exists.

    :param image: the image, as Nova's image API returns it
    :raises nova.exception.InstanceNotRescuable: with the reason, if anything fails;
        everything that was done is rolled back
    """
    with phase(context, instance, "rescue_plan"), refusing(instance):
        inspection.check_stock(context, instance, image)
        devices = nova_internals.block_device_info(context, instance)
        server = origin.find(driver, context, instance, devices, managed=True)
        if recognize.is_rescue(server.original):
            raise exception.Refused(
                "the server has the definition of an earlier rescue, and the original "
                "one is lost; hard reboot the server first"
            )
        record = Record.of_stock(
            image,
            server.original,
            server.defined,
            server.was_running,
            instance.launched_at,
        )
    store = store_of(instance)
    rollback = Rollback(instance, lastly=store.remove_record)
    with phase(context, instance, "rescue_prepare"), refusing(instance), rollback:
        store.save(record)
        origin.put_back(driver, instance, server)
        rollback.add(medium.remove, driver, instance)
        # Nova chooses the bus later; the disk is the same on each.
        rescue_medium = RescueMedium(driver, instance, RescueRequest(bus="virtio"))
        rescue_medium.fetch(context, {**image, "properties": _kernel(instance)})
        record = record.at(State.PREPARED)
        store.save(record)
    check_unchanged = functools.partial(
        guest.check_unchanged, driver, instance, server.layouts
    )
    return Prepared(record, check_unchanged, rollback.run)


def start(
    driver: libvirt_driver.LibvirtDriver,
    instance: "objects.Instance",
    stock_rescue: Callable[[], None],
    prepared: Record,
) -> Record:
    """Start a prepared stock rescue; return its record with the rescue definition.

    Errors of Nova's driver propagate.

    :param stock_rescue: rescues the instance as Nova's driver does
    """
    system_metadata = dict(instance.system_metadata)
    try:
        with _RESCUE:
            stock_rescue()
        guest.log_downtime(instance, is_rescue=True)
    finally:
        # Nova records the machine type of the rescue for the server, for good (U4).
        instance.system_metadata = system_metadata
    # Nova has not written unrescue.xml atomically (U19).
    store_of(instance).save_original(prepared.original_xml)
    rescue = guest.defined(nova_internals.guest_of(driver, instance))
    return dataclasses.replace(prepared, rescue_xml=rescue.to_xml())


def _kernel(instance: "objects.Instance") -> dict[str, str | None]:
    """Return the kernel and the ramdisk that Nova's driver uses, as of an image."""
    return {
        "kernel_id": CONF.libvirt.rescue_kernel_id or instance.kernel_id,
        "ramdisk_id": CONF.libvirt.rescue_ramdisk_id or instance.ramdisk_id,
    }


def unrescue(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    stock_unrescue: Callable[[], None],
) -> None:
    """End a rescue with unrescue.xml, or by building the definition anew (U19).

    Errors of Nova's driver propagate; the files are then still there.

    :param stock_unrescue: unrescues the instance as Nova's driver does
    """
    store = store_of(instance)
    if store.load_original() is not None:
        stock_unrescue()
    else:
        LOG.warning(
            "Neither the rescue record nor unrescue.xml holds the original "
            "definition; building it from Nova's database",
            instance=instance,
        )
        _rebuild(driver, context, instance)
    store.remove_all()


def recover(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    finish: bool,
    stock_unrescue: Callable[[], None],
) -> Outcome | None:
    """Recover a rescue that has no record.

    Errors of Nova's driver propagate; the files are then still there.

    :param finish: end a rescue whose end had begun, instead of returning to it
    :param stock_unrescue: unrescues the instance as Nova's driver does
    :returns: None if there was nothing to recover
    """
    known = known_rescue(instance)
    outcome = expected_outcome(driver, instance, known, finish)
    if outcome is Outcome.RESCUED:
        # The guest is off if the host was rebooted (U14, U15).
        started = guest.start_as_defined(driver, context, instance)
        return outcome if started else None
    if outcome is Outcome.RESTORED:
        current = guest.current(driver, instance)
        if known.is_lost or current is None or recognize.is_rescue(current):
            unrescue(driver, context, instance, stock_unrescue)
        else:
            _keep_original(driver, context, instance)
    return outcome


def expected_outcome(
    driver: libvirt_driver.LibvirtDriver,
    instance: "objects.Instance",
    known: KnownRescue,
    finish: bool,
) -> Outcome | None:
    """Return what the recovery of a rescue without a record leads to.

    Nothing is changed. Errors of libvirt propagate.

    :param finish: end a rescue whose end had begun, instead of returning to it
    :returns: None if there is nothing to recover
    :raises InvalidDomain: if libvirt returns no domain definition
    """
    if known.is_lost and (finish or not guest.is_rescue(driver, instance)):
        return Outcome.RESTORED
    if instance.vm_state == vm_states.RESCUED and not finish:
        return Outcome.RESCUED
    return Outcome.RESTORED if known.has_original else None


def _keep_original(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
) -> None:
    """Remove what a rescue left of a server that has its original definition.

    unrescue.xml may be older than that: Nova's driver leaves the file behind if the
    server is restored in another way than by unrescue.
    """
    LOG.info("Removing an unrescue.xml that is not needed", instance=instance)
    if instance.vm_state == vm_states.ACTIVE:
        guest.start_as_defined(driver, context, instance)
    medium.remove(driver, instance)
    store_of(instance).remove_all()


def _rebuild(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
) -> None:
    """Have Nova build the definition from its database and start the guest.

    A guest that runs with its original definition is left alone.
    """
    if guest.is_rescue(driver, instance) or not nova_internals.is_active(
        driver, instance
    ):
        guest.shut_down_rescue(driver, instance)
        with _BUILD_AND_START:
            driver.reboot(
                context,
                instance,
                instance.get_network_info(),
                "HARD",
                block_device_info=nova_internals.block_device_info(context, instance),
                share_info=nova_internals.shares_of(context, instance),
            )
    medium.remove(driver, instance)
