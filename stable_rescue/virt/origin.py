# SPDX-License-Identifier: Apache-2.0
"""What a rescue starts from: the server's own definition, wherever it is."""

from dataclasses import dataclass
from typing import Any

from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from nova.compute import vm_states
from nova.virt.libvirt import driver as libvirt_driver
from oslo_log import log as logging

from stable_rescue import exception, nova_internals
from stable_rescue.domain import recognise
from stable_rescue.domain.document import Domain
from stable_rescue.storage.record import Store
from stable_rescue.virt import definition

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Origin:
    """A server as it is before a rescue.

    ``definition`` is what the rescue is derived from, ``defined`` what libvirt would
    start next. ``ran`` is whether the guest is to run after the rescue, ``is_active``
    whether it does now. ``misplaced``: libvirt has a rescue definition in its place.
    """

    definition: str
    defined: str
    is_active: bool
    ran: bool
    misplaced: bool = False


def find(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    devices: dict[str, Any],
    store: Store,
    managed: bool,
) -> Origin:
    """Return what a rescue starts from.

    Where libvirt has no definition, Nova builds one, with all block devices, and it
    is defined (UPSTREAM U20). Where a failed rescue of Nova's own driver has left its
    definition, the original is in unrescue.xml.

    :param managed: whether the guest has not been powered off for the rescue
    :raises Exception: where there is none, or none can be built
    """
    was_active = instance.vm_state == vm_states.ACTIVE
    try:
        guest = nova_internals.guest_of(driver, instance)
    except nova_exception.InstanceNotFound:
        LOG.warning("Libvirt has no definition of it; building one", instance=instance)
        xml = nova_internals.build_definition(driver, context, instance, devices)
        nova_internals.define_guest(driver, xml)
        guest = nova_internals.guest_of(driver, instance)
        defined = definition.defined(guest)
        return Origin(defined, defined, False, was_active)
    own = definition.read(guest)
    saved = saved_by(store) if recognise.is_rescue(Domain.parse(own)) else None
    if saved is not None:
        LOG.warning("A failed rescue has left its definition", instance=instance)
        return Origin(saved, saved, False, True, misplaced=True)
    is_active = bool(guest.is_active())
    ran = is_active or (was_active and not managed)
    return Origin(own, definition.defined(guest), is_active, ran)


def saved_by(store: Store) -> str | None:
    """Return the server's own definition from unrescue.xml; None: missing, damaged."""
    saved = store.original()
    try:
        if saved and not recognise.is_rescue(Domain.parse(saved)):
            return saved
    except exception.InvalidDomain as exc:
        LOG.warning("unrescue.xml cannot be read: %s", exc)
    return None
