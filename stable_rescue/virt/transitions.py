# SPDX-License-Identifier: Apache-2.0
"""The ways between a server and its rescue. Each may be gone again after a crash.

PREPARING -> PREPARED -begin-> BEGINNING -> RESCUED -end-> ENDING -> ENDED -> none
    |            |                 |                          |         ^
    |            +------undo-------+--------------------------|---------+
    +-abandon-> none                                          +-resume-> RESCUED
"""

import dataclasses

from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from nova.compute import vm_states
from nova.virt.libvirt import driver as libvirt_driver
from oslo_log import log as logging
from oslo_utils import excutils

from stable_rescue import nova_internals, steps
from stable_rescue.domain import nics, recognise, sources
from stable_rescue.domain.document import Domain
from stable_rescue.storage import medium, records, volumes
from stable_rescue.storage.record import Record, Rest, State
from stable_rescue.virt import definition, origin
from stable_rescue.virt.phase import phase
from stable_rescue.virt.refusal import failing

LOG = logging.getLogger(__name__)

_STAYS = "the server could not be brought back"


def begin(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    prepared: Record,
) -> None:
    """Boot the server from its rescue disk.

    :raises Exception: what stood in the way; the server is then itself again, or, if
        that failed too, its record tells how to bring it back
    """
    store = records.store_of(instance)
    try:
        store.save(prepared.at(State.BEGINNING))
        store.save_original(prepared.before)
        definition.power_off(driver, instance)
        # Its volumes are connected: it ran, or preparation has connected them.
        _start(driver, context, instance, prepared.after)
        store.save(prepared.at(State.RESCUED))
    except Exception:  # noqa: BLE001 - it is raised again
        with excutils.save_and_reraise_exception(logger=LOG):
            LOG.error("The rescue failed; undoing it", instance=instance)
            undo(driver, context, instance, prepared, connected=True)


def end(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    rescued: Record,
) -> None:
    """Shut the rescue system down and bring the server back as it was.

    :raises Exception: what stood in the way; the record is then still there
    """
    with phase(context, instance, "unrescue_power_off"), failing(instance, _STAYS):
        records.store_of(instance).save(rescued.at(State.ENDING))
        if rescued.was_running and not _is_active(driver, instance):
            rescued = _reconnect(driver, context, instance, rescued)
        _shut_down(driver, instance)
    with phase(context, instance, "unrescue_boot"), failing(instance, _STAYS):
        _become_itself(driver, context, instance, rescued)


def abandon(
    driver: libvirt_driver.LibvirtDriver,
    instance: "objects.Instance",
    preparing: Record,
) -> None:
    """Remove all that a preparation has left; the guest is not touched.

    :raises Exception: what stood in the way; the record is then still there
    """
    definition.put_back(driver, instance, preparing.defined)
    medium.remove(driver, instance)
    records.store_of(instance).forget()


def undo(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    begun: Record,
    connected: bool = False,
) -> None:
    """Bring the server back as it was before a rescue that did not come about.

    A guest that still runs its own definition is not touched.

    :param connected: its volumes are connected as its definition says
    :raises Exception: what stood in the way; the record is then still there
    """
    connected = connected or _is_active(driver, instance)
    if is_rescue(driver, instance):
        definition.power_off(driver, instance)
    if begun.was_running and not connected:
        begun = _reconnect(driver, context, instance, begun)
    _become_itself(driver, context, instance, begun)


def resume(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    rescued: Record,
) -> None:
    """Have a server run its rescue system, where it does not.

    :raises Exception: what stood in the way; the record is still there
    """
    active = _is_active(driver, instance)
    if not (active and is_rescue(driver, instance)):
        if not active:
            rescued = _reconnect(driver, context, instance, rescued)
        definition.power_off(driver, instance)
        _start(driver, context, instance, rescued.after)
    if rescued.state is not State.RESCUED:
        records.store_of(instance).save(rescued.at(State.RESCUED))


def settle(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    finish: bool,
) -> Rest | None:
    """Bring a server to rest whose rescue, or the end of it, was cut short.

    :param finish: end a rescue whose end had begun, in place of going back into it
    :returns: where it is; None where there is no rescue of ours
    :raises Exception: what stood in the way; the record is then still there
    """
    store = records.store_of(instance)
    found = records.load(instance)
    if found is None:
        if not store.exists():
            store.forget()  # one that was being written
        return None
    stays = found.state is State.RESCUED or (
        found.state is State.ENDING
        and not (finish or _came_back(driver, instance, found))
    )
    if not stays:
        return _go_back(driver, context, instance, found)
    resume(driver, context, instance, found)
    return Rest.RESCUED


def before_destroy(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance", rescued: Record
) -> None:
    """Define a rescued server as itself, for libvirt to undefine all that is its own.

    :raises Exception: what stood in the way
    """
    definition.power_off(driver, instance)
    nova_internals.define_guest(driver, rescued.before)


def make_way(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
) -> None:
    """Bring a server to itself that an earlier rescue of ours has left in ERROR.

    Of any other, what is left is removed: it was brought back since, perhaps in
    another way, and its record is out of date.

    :raises Exception: what stood in the way
    """
    found = records.load(instance)
    if found is None and not records.store_of(instance).exists():
        return
    if found is None or instance.vm_state != vm_states.ERROR:
        sweep(driver, instance)
        return
    LOG.info("Settling its earlier rescue first", instance=instance)
    _go_back(driver, context, instance, found)
    records.store_of(instance).forget()


def rebuild(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
) -> None:
    """Bring a server back of which neither record nor unrescue.xml is left (U19).

    Nova builds its definition from the database and starts it, unless it runs already.

    :raises Exception: what stood in the way
    """
    if is_rescue(driver, instance) or not _is_active(driver, instance):
        _shut_down(driver, instance)
        _build_and_start(driver, context, instance)
    _tidy(driver, instance)


def start_as_defined(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
) -> bool:
    """Start what libvirt has defined, where it is off; return whether it was.

    :raises Exception: what stood in the way
    """
    if _is_active(driver, instance):
        return False
    guest = nova_internals.guest_of(driver, instance)
    _start(driver, context, instance, definition.defined(guest))
    return True


def sweep(driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance") -> None:
    """Remove what is left of a rescue of a server that is itself.

    :raises Exception: what stood in the way
    """
    store = records.store_of(instance)
    found = records.load(instance)
    if found is not None and found.state is State.PREPARING:
        abandon(driver, instance, found)
    elif not is_rescue(driver, instance):
        _tidy(driver, instance)
        store.forget()


def _go_back(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    found: Record,
) -> Rest:
    """Bring a server back to itself from wherever its rescue has come."""
    match found.state:
        case State.PREPARING:
            abandon(driver, instance, found)
            return Rest.UNTOUCHED
        case State.PREPARED | State.BEGINNING:
            undo(driver, context, instance, found)
        case State.RESCUED | State.ENDING:
            end(driver, context, instance, found)
    return Rest.ITSELF


def _came_back(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance", found: Record
) -> bool:
    """Say whether a server is itself, in the power state that it had."""
    return not is_rescue(driver, instance) and (
        _is_active(driver, instance) or not found.was_running
    )


def _become_itself(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    found: Record,
) -> None:
    """Define the server's own definition, in its own power state; clean up."""
    store = records.store_of(instance)
    if not _is_active(driver, instance):
        original = _with_ports(instance, origin.saved_by(store) or found.before)
        if found.was_running:
            _start(driver, context, instance, original)
        else:
            nova_internals.define_guest(driver, original)
    try:
        _tidy(driver, instance)
        # The record stays until Nova knows.
        store.save(found.at(State.ENDED))
    except Exception:
        LOG.exception(
            "The server is itself again, but something of its rescue is left; "
            "nova-compute tries again to remove it",
            instance=instance,
        )


def _shut_down(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance"
) -> None:
    """Power a rescue system off; it has written to the disks that it repairs (U17)."""
    if is_rescue(driver, instance):
        timeout, interval = nova_internals.power_off_values(instance)
        definition.power_off(driver, instance, timeout, interval)


def _with_ports(instance: "objects.Instance", own: str) -> str:
    """Return a definition without the NICs whose ports are gone (UPSTREAM U25)."""
    macs = [vif["address"] for vif in instance.get_network_info()]
    if not macs:
        return own  # Neutron may not have been asked
    changed, gone = nics.without_gone(Domain.parse(own), macs)
    if gone:
        LOG.info("Its NICs %s are gone in Neutron", ", ".join(gone), instance=instance)
    return changed.to_xml()


def _tidy(driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance") -> None:
    """Remove all that a rescue has left but its record."""
    medium.remove(driver, instance)
    records.store_of(instance).forget_original()


def _reconnect(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    found: Record,
) -> Record:
    """Connect the volumes of a guest that is off (UPSTREAM U16).

    The host may have been started again since, and a device have another name: the
    saved definition gets it, and so do those of the record that is returned.

    :raises Refused: where one cannot be connected
    """
    disks = volumes.connect_again(driver, context, instance, Domain.parse(found.before))
    store = records.store_of(instance)
    original = origin.saved_by(store) or found.before
    fresh = sources.refreshed(Domain.parse(original), disks)[0].to_xml()
    if fresh != original:
        store.save_original(fresh)
    after = sources.refreshed(Domain.parse(found.after), disks)[0].to_xml()
    return dataclasses.replace(found, before=fresh, after=after)


def _start(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    xml: str,
) -> None:
    """Define and start a definition, its NICs in place (UPSTREAM U16)."""
    _plug_vifs(driver, instance)
    nova_internals.start_guest(driver, context, xml, instance)


@steps.changes("build and start a domain")
def _build_and_start(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
) -> None:
    driver.reboot(
        context,
        instance,
        instance.get_network_info(),
        "HARD",
        block_device_info=nova_internals.block_device_info(context, instance),
        share_info=nova_internals.shares_of(context, instance),
    )


@steps.changes("plug the NICs")
def _plug_vifs(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance"
) -> None:
    driver.plug_vifs(instance, instance.get_network_info())


def _is_active(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance"
) -> bool:
    try:
        return bool(nova_internals.guest_of(driver, instance).is_active())
    except nova_exception.InstanceNotFound:
        return False


def is_rescue(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance"
) -> bool:
    """Say whether what libvirt has, or runs, is a rescue definition."""
    try:
        guest = nova_internals.guest_of(driver, instance)
    except nova_exception.InstanceNotFound:
        return False
    return recognise.is_rescue(Domain.parse(guest.get_xml_desc()))
