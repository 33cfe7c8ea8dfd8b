# SPDX-License-Identifier: Apache-2.0
"""The server's own definition, as libvirt has it."""

from nova import exception as nova_exception
from nova import objects
from nova.virt.libvirt import driver as libvirt_driver
from nova.virt.libvirt import guest as libvirt_guest
from oslo_concurrency import lockutils
from oslo_log import log as logging

from stable_rescue import exception, nova_internals, steps
from stable_rescue.domain import live, recognise
from stable_rescue.domain.document import Domain
from stable_rescue.domain.layout import differences, layout_of

LOG = logging.getLogger(__name__)


def defined(guest: libvirt_guest.Guest) -> str:
    """Return what libvirt would start next, with its secrets.

    :raises libvirt.libvirtError: where libvirt does not answer
    """
    return str(guest.get_xml_desc(dump_inactive=True, dump_sensitive=True))


def try_out(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance", rescue: str
) -> None:
    """Have libvirt itself accept a rescue definition; a running guest goes on.

    Libvirt takes a definition over a running domain for its next start (LIBVIRT, API
    facts), so what is checked is what will be started. The definition that was there
    is put back at once. Nova's lock of the instance is held: a domain that is deleted
    meanwhile would be there again.

    :raises NotAccepted: where libvirt refuses it
    :raises nova.exception.InstanceNotFound: where there is no domain any more
    :raises libvirt.libvirtError: where what was there is not taken back
    """
    with lockutils.lock(instance.uuid):
        guest = nova_internals.guest_of(driver, instance)
        if not guest.has_persistent_configuration():
            # It would get one, and keep it. Nova's domains have always got one.
            LOG.warning(
                "A definition cannot be tried on a transient domain", instance=instance
            )
            return
        own = defined(guest)
        try:
            nova_internals.define_guest(driver, rescue)
        except Exception as exc:
            raise exception.NotAccepted("libvirt refuses the definition") from exc
        nova_internals.define_guest(driver, own)
        if defined(guest) != own:
            LOG.warning(
                "Libvirt writes the definition in another way since it was put back",
                instance=instance,
            )


@steps.changes("power off")
def power_off(
    driver: libvirt_driver.LibvirtDriver,
    instance: "objects.Instance",
    timeout: int = 0,
    interval: int = 0,
) -> None:
    """Power a guest off, cleanly where it is given seconds for that.

    :raises Exception: where it still runs
    """
    driver.power_off(instance, timeout, interval)


def lay_down(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance", own: str
) -> None:
    """Define a server's own definition in place of a rescue's that had failed.

    :raises Exception: what stood in the way
    """
    power_off(driver, instance)
    nova_internals.define_guest(driver, own)


def put_back(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance", own: str
) -> None:
    """Define what was there before a trial, where the trial has left a rescue.

    :raises libvirt.libvirtError: where libvirt does not take it
    """
    try:
        guest = nova_internals.guest_of(driver, instance)
    except nova_exception.InstanceNotFound:
        return
    if recognise.is_rescue(Domain.parse(defined(guest))):
        nova_internals.define_guest(driver, own)


def read(guest: libvirt_guest.Guest) -> str:
    """Return the definition to derive a rescue from, with its secrets.

    What the guest sees is the live definition (LIBVIRT F1). Where the inactive one
    puts every device where the live one does, it is returned in its place: it is
    what was defined, without what libvirt adds at run time, so that unrescue can
    bring it back to the letter.

    :raises InvalidDomain: where libvirt's answer is no definition
    :raises libvirt.libvirtError: where libvirt does not answer
    """
    inactive = defined(guest)
    if not guest.is_active():
        return inactive
    running = Domain.parse(
        str(guest.get_xml_desc(dump_sensitive=True, dump_migratable=True))
    )
    moved = differences(layout_of(running), layout_of(Domain.parse(inactive)))
    if not moved:
        return inactive
    LOG.info(
        "The live and the inactive definition differ in %s; "
        "the rescue is derived from the live one",
        ", ".join(" ".join(device) for device in moved),
        instance_uuid=guest.uuid,
    )
    return live.persistent_form(running).to_xml()
