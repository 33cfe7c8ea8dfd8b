# SPDX-License-Identifier: Apache-2.0
"""A server's guest: its definitions in libvirt, how it is started and powered off."""

from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from nova.virt.libvirt import driver as libvirt_driver
from nova.virt.libvirt import guest as libvirt_guest
from oslo_concurrency import lockutils
from oslo_log import log as logging

from stable_rescue import exception, metrics, nova_internals, steps
from stable_rescue.domain import live, nics, recognize
from stable_rescue.domain.document import Domain
from stable_rescue.domain.layout import Layout, differences, layout_of
from stable_rescue.virt import consoles, shutdown

LOG = logging.getLogger(__name__)

_POWER_OFF = steps.changes("power off")


def defined(guest: libvirt_guest.Guest) -> Domain:
    """Return what libvirt would start next, including its secrets.

    Errors of libvirt propagate.

    :raises InvalidDomain: if libvirt returns no domain definition
    """
    return Domain.parse(guest.get_xml_desc(dump_inactive=True, dump_sensitive=True))


def read_original(guest: libvirt_guest.Guest) -> Domain:
    """Return the definition to derive a rescue from, including its secrets.

    The guest sees the live definition (F1). If the inactive one puts every device at
    the same address, the inactive one is returned instead: it is what Nova defined,
    without what libvirt adds at run time, so unrescue restores it to the letter.
    Errors of libvirt propagate.

    :raises InvalidDomain: if libvirt returns no domain definition
    """
    return _as_running(guest, defined(guest))


def _as_running(guest: libvirt_guest.Guest, inactive: Domain) -> Domain:
    """Return an inactive definition, or the live one if they differ in a device."""
    if not guest.is_active():
        return inactive
    running = Domain.parse(
        guest.get_xml_desc(dump_sensitive=True, dump_migratable=True)
    )
    moved = differences(layout_of(running), layout_of(inactive))
    if not moved:
        return inactive
    LOG.info(
        "The live and the inactive definition differ in %s; using the live one",
        ", ".join(" ".join(device) for device in moved),
        instance_uuid=guest.uuid,
    )
    return live.persistent_form(running)


def layouts(guest: libvirt_guest.Guest) -> list[Layout]:
    """Return the layout of what libvirt would start next, then of what runs, if any.

    Errors of libvirt propagate.

    :raises InvalidDomain: if libvirt returns no domain definition
    """
    domains = [defined(guest)]
    if guest.is_active():
        domains.append(Domain.parse(guest.get_xml_desc(dump_migratable=True)))
    return [layout_of(domain) for domain in domains]


def check_unchanged(
    driver: libvirt_driver.LibvirtDriver,
    instance: "objects.Instance",
    planned: list[Layout],
) -> None:
    """Check that the server has the devices and disk sources that it had earlier.

    Errors of libvirt propagate.

    :param planned: the layouts that the rescue was planned with
    :raises Refused: if a device was attached or detached, or a disk has another source
    :raises nova.exception.InstanceNotFound: if the domain is gone
    """
    present = layouts(nova_internals.guest_of(driver, instance))
    # A guest may have shut down since; then only the next start is compared.
    for before, now in zip(planned, present, strict=False):
        changed = differences(before, now)
        if changed:
            devices = ", ".join(sorted({" ".join(device) for device in changed}))
            LOG.info("Devices changed since the plan: %s", devices, instance=instance)
            raise exception.Refused(
                "the server's devices or disks changed while its rescue was being "
                "prepared; try again"
            )


def known_ports(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    xml: str,
    is_cache_old: bool = False,
) -> list[str] | None:
    """Return the MAC addresses of the server's ports, or None if they are unknown.

    :param xml: a definition of the server; without NICs, nobody is asked
    :param is_cache_old: ports may have been deleted since Nova last asked Neutron
    """
    if next(Domain.parse(xml).each_device("interface"), None) is None:
        return None
    ports = instance.get_network_info()
    # An empty cache was lost, or the last port was deleted.
    if is_cache_old or not ports:
        try:
            ports = nova_internals.ports_in_neutron(driver, context, instance)
        except Exception:
            LOG.warning(
                "Failed to get the server's ports from Neutron; the server starts with "
                "the NICs that Nova last knew",
                exc_info=True,
                instance=instance,
            )
            if not ports:
                return None
    return [port["address"] for port in ports]


def without_deleted_ports(
    instance: "objects.Instance", xml: str, ports: list[str] | None
) -> str:
    """Return a definition without the NICs whose ports were deleted (U25).

    :param ports: the MAC addresses of the ports, or None to leave every NIC
    """
    if ports is None:
        return xml
    remaining, deleted = nics.without_gone(Domain.parse(xml), ports)
    if deleted:
        LOG.info(
            "Leaving out the NICs %s, whose ports were deleted",
            ", ".join(deleted),
            instance=instance,
        )
    return remaining.to_xml()


def current(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance"
) -> Domain | None:
    """Return what the guest runs with, or what it would start with if it is off.

    Errors of libvirt propagate.

    :returns: None if libvirt has no definition
    :raises InvalidDomain: if libvirt returns no domain definition
    """
    try:
        guest = nova_internals.guest_of(driver, instance)
    except nova_exception.InstanceNotFound:
        return None
    if guest.is_active():
        return Domain.parse(guest.get_xml_desc(dump_migratable=True))
    return defined(guest)


def is_rescue(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance"
) -> bool:
    """Return True if the guest runs a rescue definition, or would start with one.

    Errors of libvirt propagate.

    :raises InvalidDomain: if libvirt returns no domain definition
    """
    try:
        guest = nova_internals.guest_of(driver, instance)
    except nova_exception.InstanceNotFound:
        return False
    return recognize.is_rescue(Domain.parse(guest.get_xml_desc()))


def try_out(
    driver: libvirt_driver.LibvirtDriver,
    instance: "objects.Instance",
    rescue: Domain,
    planned: list[Layout],
) -> None:
    """Let libvirt check a rescue definition; a running guest goes on.

    Defining over a running domain only changes its next start (F26), so libvirt
    checks exactly what will be started. The previous definition is put back at once.
    Nova's instance lock is held meanwhile. Otherwise a domain that is deleted in
    between would be defined again. If libvirt rejects the previous definition, the
    error propagates.

    :param planned: the layouts that the rescue was planned with
    :raises Refused: if the server has other devices or disk sources than planned
    :raises NotAccepted: if libvirt rejects the rescue definition
    :raises nova.exception.InstanceNotFound: if the domain is gone
    """
    with lockutils.lock(instance.uuid):
        check_unchanged(driver, instance, planned)
        guest = nova_internals.guest_of(driver, instance)
        if not guest.has_persistent_configuration():
            # Defining it would make it persistent. Nova's domains always are.
            LOG.warning(
                "Libvirt cannot check the rescue definition in advance, because the "
                "domain is transient; the rescue continues without this check",
                instance=instance,
            )
            return
        previous = defined(guest).to_xml()
        try:
            nova_internals.define_guest(driver, rescue.to_xml())
        except Exception as exc:
            raise exception.NotAccepted("libvirt rejects the definition") from exc
        nova_internals.define_guest(driver, previous)
        if defined(guest).to_xml() != previous:
            LOG.warning(
                "Libvirt returns the original definition in another form after it was "
                "put back; the rescue continues. If devices move, compare the output "
                "of `virsh dumpxml --inactive` with unrescue.xml",
                instance=instance,
            )


def end_trial(
    driver: libvirt_driver.LibvirtDriver,
    instance: "objects.Instance",
    previous_xml: str,
) -> None:
    """Put the previous definition back if :func:`try_out` was interrupted.

    If a device was attached or detached since, the definition of the running guest has
    that. Errors of libvirt propagate.
    """
    try:
        guest = nova_internals.guest_of(driver, instance)
    except nova_exception.InstanceNotFound:
        return
    if recognize.is_rescue(defined(guest)):
        previous = _as_running(guest, Domain.parse(previous_xml))
        nova_internals.define_guest(driver, previous.to_xml())


def replace_definition(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance", xml: str
) -> None:
    """Power the guest off and define another definition, without starting it.

    The old definition is replaced, never undefined: undefine deletes a vTPM's state
    (F22).
    Errors of libvirt propagate.
    """
    power_off(driver, instance)
    nova_internals.define_guest(driver, xml)


def power_off(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance"
) -> None:
    """Power the guest off. If it still runs, errors of libvirt propagate.

    A guest that is off is left alone: Nova's power-off releases the ports in its
    definition, and another server may use them now (U21).
    """
    with _POWER_OFF:
        if nova_internals.is_active(driver, instance):
            driver.power_off(instance)


def shut_down(
    driver: libvirt_driver.LibvirtDriver,
    instance: "objects.Instance",
    clean: bool = True,
) -> None:
    """Shut the guest down, or power it off if it does not react.

    A guest that is off is left alone. If it still runs, errors of libvirt propagate.

    :param clean: False to power it off without asking it to shut down
    """
    # Nova's power-off reads it while the guest is off, if need be from the conductor.
    _ = instance.numa_topology
    with _POWER_OFF:
        if nova_internals.is_active(driver, instance):
            if clean:
                shutdown.wait_for(driver, instance)
            # A guest that did not shut down is off in a moment.
            metrics.guest_ended(instance.uuid)
            driver.power_off(instance)
        else:
            metrics.guest_was_off(instance.uuid)


def shut_down_rescue(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance"
) -> None:
    """Shut the rescue system down, so that it flushes the disks it repaired (U17).

    A guest with its original definition is left alone. Errors of libvirt propagate.
    """
    if is_rescue(driver, instance):
        shut_down(driver, instance)


@steps.changes("plug the NICs")
def plug_nics(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance"
) -> None:
    """Plug the NICs (U16), which the guest may use already.

    Errors of os-vif propagate.
    """
    driver.plug_vifs(instance, instance.get_network_info())


def start(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    xml: str,
) -> None:
    """Claim the serial ports (U21), define and start a definition.

    The NICs must be plugged. Errors of libvirt propagate.

    :raises nova.exception.SocketPortRangeExhaustedException: if no serial port is free
    """
    with consoles.claimed(instance, xml) as usable_xml:
        nova_internals.start_guest(driver, context, usable_xml, instance)
    log_downtime(instance, recognize.is_rescue(Domain.parse(xml)))


def log_downtime(instance: "objects.Instance", is_rescue: bool) -> None:
    """Log how long the guest, which runs now, was off because of a rescue.

    :param is_rescue: the rescue system was started, not the server's own
    """
    seconds = metrics.guest_started(instance.uuid, is_rescue)
    if seconds is not None:
        LOG.info("The guest was off for %.2f seconds", seconds, instance=instance)


def start_as_defined(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
) -> bool:
    """Start what libvirt has defined; return False if the guest runs already.

    Errors of libvirt and os-vif propagate.

    :raises nova.exception.InstanceNotFound: if nothing is defined
    """
    if nova_internals.is_active(driver, instance):
        return False
    definition = defined(nova_internals.guest_of(driver, instance))
    plug_nics(driver, instance)
    start(driver, context, instance, definition.to_xml())
    return True
