# SPDX-License-Identifier: Apache-2.0
"""Rescue state transitions. Each can be retried after a crash.

PREPARING -> PREPARED --begin--> BEGINNING -> RESCUED --end--> ENDING -> ENDED
    |            |                   |           ^               |         ^
    |            +-----roll_back-----+-----------|---------------|---------+
    |                                            +----resume-----+
    +-discard-> no record

BEGINNING and ENDING, like PREPARING, are written before the step that they name, so the
record of an interrupted rescue says which step has to be finished or rolled back. The
other states are written once what they name is true. The record of a rescue that
has ended is removed once Nova's database agrees.
"""

from collections.abc import Callable
from contextlib import nullcontext

from nova import context as nova_context
from nova import objects
from nova.compute import vm_states
from nova.virt.libvirt import driver as libvirt_driver
from oslo_log import log as logging
from oslo_utils import excutils

from stable_rescue import nova_internals
from stable_rescue.domain import recognize
from stable_rescue.outcome import Outcome
from stable_rescue.storage import medium
from stable_rescue.storage.record import Record, State
from stable_rescue.storage.store import Store, store_of
from stable_rescue.virt import (
    disk_sources,
    guest,
    memory,
    outdated,
    ownership,
    power_off,
    turns,
)
from stable_rescue.virt.phase import phase
from stable_rescue.virt.refusal import failing

LOG = logging.getLogger(__name__)

_UNRESCUE_FAILED = "unrescue failed"


def begin(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    prepared: Record,
    start_stock: Callable[[Record], Record],
) -> None:
    """Shut the server down and boot it from its rescue disk.

    Everything that is possible while the guest runs comes before its shutdown. If
    anything fails, the rescue is rolled back and the error propagates. If the rollback
    fails too, the record says how to recover the server.

    :param start_stock: starts a stock rescue and returns its record
    :raises nova.exception.InstanceNotRescuable: if the rescue was rolled back
    """
    # A dump takes minutes, and its guest is paused: others do not wait for it.
    turn = turns.turn(instance) if prepared.memory_dump is None else nullcontext()
    try:
        with turn:
            power_off.end_system(driver, context, instance, prepared)
            with (
                phase(context, instance, "rescue_boot"),
                failing(instance, "the rescue system could not be started"),
            ):
                prepared = disk_sources.follow_since_plan(driver, instance, prepared)
                if prepared.is_stock:
                    prepared = start_stock(prepared)
                else:
                    # The volumes are connected: the guest ran, or preparation did it.
                    guest.start(driver, context, instance, prepared.rescue_xml)
                store_of(instance).save(prepared.at(State.RESCUED))
    except Exception:  # noqa: BLE001 - the error propagates
        with excutils.save_and_reraise_exception(logger=LOG):
            LOG.error("The rescue failed; rolling it back", instance=instance)
            roll_back(driver, context, instance, prepared, connected=True)


def end(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    rescued: Record,
) -> None:
    """Shut the rescue system down and restore the server.

    Everything that is possible while the guest runs comes before its shutdown.

    :raises nova.exception.InstanceNotRescuable: if that fails; the record is kept
    """
    with turns.turn(instance):
        _end(driver, context, instance, rescued)


def _end(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    rescued: Record,
) -> None:
    with (
        phase(context, instance, "unrescue_power_off"),
        failing(instance, _UNRESCUE_FAILED),
    ):
        rescued = disk_sources.follow(driver, context, instance, rescued)
        rescued = disk_sources.without_detached(context, instance, rescued)
        store_of(instance).save_if_space(rescued.at(State.ENDING))
        ports = _plug_nics(driver, context, instance, rescued)
        if nova_internals.is_active(driver, instance):
            guest.shut_down_rescue(driver, instance)
            # A snapshot may have begun before the shutdown.
            rescued = disk_sources.follow(driver, context, instance, rescued)
        elif rescued.was_running:
            rescued = disk_sources.reconnect(driver, context, instance, rescued)
    with (
        phase(context, instance, "unrescue_boot"),
        failing(instance, _UNRESCUE_FAILED),
    ):
        _restore(driver, context, instance, rescued, ports)


def discard(
    driver: libvirt_driver.LibvirtDriver,
    instance: "objects.Instance",
    preparing: Record,
) -> None:
    """Remove everything that an interrupted preparation left; the guest keeps running.

    Errors of libvirt and of the storage propagate; the record is then kept.
    """
    guest.end_trial(driver, instance, preparing.defined_xml)
    medium.remove(driver, instance)
    store_of(instance).remove_record()


def roll_back(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    begun: Record,
    connected: bool = False,
) -> None:
    """Restore the server after its rescue failed.

    A guest that still runs its original definition is left alone, or resumed if it was
    paused for a memory dump. Errors propagate; the record is then kept.

    :param connected: the volumes are connected as the definition says
    """
    memory.undo(driver, instance, begun)
    connected = connected or nova_internals.is_active(driver, instance)
    if guest.is_rescue(driver, instance):
        guest.power_off(driver, instance)
    ports = None
    if not nova_internals.is_active(driver, instance):
        begun = disk_sources.follow_since_plan(driver, instance, begun)
        if begun.was_running and not connected:
            begun = disk_sources.reconnect(driver, context, instance, begun)
        ports = _plug_nics(driver, context, instance, begun)
    _restore(driver, context, instance, begun, ports)


def resume(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    rescued: Record,
) -> None:
    """Start the rescue system unless it runs already.

    Errors propagate; the record is then kept.
    """
    active = nova_internals.is_active(driver, instance)
    if not (active and guest.is_rescue(driver, instance)):
        rescued = disk_sources.follow(driver, context, instance, rescued)
        if not active:
            rescued = disk_sources.reconnect(driver, context, instance, rescued)
        rescue_xml = rescued.rescue_xml
        ports = guest.known_ports(
            driver, context, instance, rescue_xml, is_cache_old=not active
        )
        rescue_xml = guest.without_deleted_ports(instance, rescue_xml, ports)
        guest.plug_nics(driver, instance)
        guest.power_off(driver, instance)
        guest.start(driver, context, instance, rescue_xml)
    if rescued.state is not State.RESCUED:
        store_of(instance).save_if_space(rescued.at(State.RESCUED))


def recover(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    finish: bool,
) -> Outcome | None:
    """Finish or roll back a stable rescue, or the end of one, that was interrupted.

    Errors propagate; the record is then kept.

    :param finish: end a rescue whose end had begun, instead of returning to it
    :returns: None if there is no record of a stable rescue
    """
    store = store_of(instance)
    record = store.load()
    if record is None:
        if not store.has_record():
            store.remove_record()  # a temporary file of it may be left
        return None
    outcome = expected_outcome(driver, instance, record, finish)
    if outcome is Outcome.RESCUED:
        resume(driver, context, instance, record)
    else:
        _return_to_original(driver, context, instance, record)
    return outcome


def expected_outcome(
    driver: libvirt_driver.LibvirtDriver,
    instance: "objects.Instance",
    record: Record,
    finish: bool,
) -> Outcome:
    """Return what the recovery of a rescue with this record leads to.

    Nothing is changed. Errors of libvirt propagate.

    :param finish: end a rescue whose end had begun, instead of returning to it
    :raises InvalidDomain: if libvirt returns no domain definition
    """
    is_rescued = record.state is State.RESCUED or (
        record.state is State.ENDING and not finish
    )
    # If the disk was full, the record does not say that an unrescue has begun.
    if is_rescued and not _is_restored(driver, instance, record):
        return Outcome.RESCUED
    if record.state is State.PREPARING:
        return Outcome.UNTOUCHED
    return Outcome.RESTORED


def finish_earlier_rescue(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
) -> None:
    """Recover from an earlier rescue, if it left a record, before a new one.

    A server in ERROR is restored. Any other server has been restored since the earlier
    rescue, perhaps by a hard reboot: its record is outdated, and only leftovers are
    removed. Errors propagate; the record is then kept.

    :raises Refused: if another request has taken the server over
    """
    store = store_of(instance)
    if not store.has_record():
        return
    with ownership.still_rescuing(instance):
        outdated.remove(driver, instance)
        record = store.load()
        if record is None or instance.vm_state != vm_states.ERROR:
            clean_up(driver, instance)
            return
        LOG.info("Recovering from the earlier rescue first", instance=instance)
        _return_to_original(driver, context, instance, record)
        store.remove_record()


def clean_up(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance"
) -> None:
    """Remove what a rescue left of a server that is not rescued any more.

    A server that was stopped in its rescue gets its original definition back. A guest
    that was paused for a memory dump is resumed, and any other is left alone. Errors
    propagate; the record is then kept.
    """
    store = store_of(instance)
    record = store.load()
    if record is not None and record.state is State.PREPARING:
        discard(driver, instance, record)
        return
    if record is not None:
        memory.undo(driver, instance, record)
    if guest.is_rescue(driver, instance):
        if record is None or instance.vm_state != vm_states.STOPPED:
            return
        # An operator has set the server to ERROR, and it was stopped in its rescue.
        LOG.info("Ending the rescue of a server that was stopped", instance=instance)
        guest.replace_definition(driver, instance, record.original_xml)
    _remove_leftovers(driver, instance, store)
    store.remove_record()


def expected_rescue_clean_up(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance"
) -> bool:
    """Return True if clean_up would leave nothing of the rescue.

    Nothing is changed. Errors of libvirt propagate.

    :raises InvalidDomain: if libvirt returns no domain definition
    """
    record = store_of(instance).load()
    return (
        (record is not None and record.state is State.PREPARING)
        or not guest.is_rescue(driver, instance)
        or (record is not None and instance.vm_state == vm_states.STOPPED)
    )


def _return_to_original(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    record: Record,
) -> None:
    """Restore the server from whatever state its rescue has reached."""
    match record.state:
        case State.PREPARING:
            discard(driver, instance, record)
        case State.PREPARED | State.BEGINNING:
            roll_back(driver, context, instance, record)
        case State.RESCUED | State.ENDING:
            end(driver, context, instance, record)


def _is_restored(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance", record: Record
) -> bool:
    """Return True if the server has its original definition and power state."""
    current = guest.current(driver, instance)
    return (
        current is not None
        and not recognize.is_rescue(current)
        and (nova_internals.is_active(driver, instance) or not record.was_running)
    )


def _plug_nics(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    record: Record,
) -> list[str] | None:
    """Plug the NICs of a server that will be started; return its ports, if known."""
    ports = guest.known_ports(driver, context, instance, record.original_xml)
    if record.was_running:
        guest.plug_nics(driver, instance)
    return ports


def _restore(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    record: Record,
    ports: list[str] | None,
) -> None:
    """Define the original definition, start it if it ran, and remove leftovers.

    :param ports: the MAC addresses of the server's ports; None to keep all NICs
    """
    store = store_of(instance)
    if not nova_internals.is_active(driver, instance):
        original_xml = guest.without_deleted_ports(instance, record.original_xml, ports)
        if record.was_running:
            guest.start(driver, context, instance, original_xml)
        else:
            nova_internals.define_guest(driver, original_xml)
    try:
        _remove_leftovers(driver, instance, store)
        # The record is removed once Nova's database agrees.
        store.save(record.at(State.ENDED))
    except Exception:
        LOG.exception(
            "The server is restored, but leftovers of its rescue could not be removed; "
            "nova-compute tries again after [stable_rescue] stalled_after seconds or "
            "at its next start",
            instance=instance,
        )


def _remove_leftovers(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance", store: Store
) -> None:
    """Remove everything that a rescue left, except its record."""
    medium.remove(driver, instance)
    store.remove_original()
