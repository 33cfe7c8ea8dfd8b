# SPDX-License-Identifier: Apache-2.0
"""What a rescue starts from: the server's original definition, wherever it is."""

from dataclasses import dataclass
from typing import Any

from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from nova.compute import vm_states
from nova.virt.libvirt import driver as libvirt_driver
from nova.virt.libvirt import guest as libvirt_guest
from oslo_log import log as logging

from stable_rescue import exception, nova_internals
from stable_rescue.domain import recognize
from stable_rescue.domain.document import Domain
from stable_rescue.domain.layout import Layout, layout_of
from stable_rescue.storage.store import store_of
from stable_rescue.virt import guest, ownership

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Origin:
    """A server as it is before a rescue.

    ``original`` is what the rescue is derived from, ``defined`` is what libvirt would
    start next. ``layouts`` are where both put their devices, to notice a change later;
    they were read before the definitions. ``was_running`` says whether the guest has to
    run after the rescue, ``is_active`` whether it runs now. ``is_misplaced`` says that
    libvirt holds the rescue definition of an earlier, failed rescue instead of the
    original.
    """

    original: Domain
    defined: Domain
    layouts: list[Layout]
    is_active: bool
    was_running: bool
    is_misplaced: bool = False


def find(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    block_device_info: dict[str, Any],
    managed: bool,
) -> Origin:
    """Return what a rescue starts from.

    If libvirt has no definition, Nova builds one with all block devices, and it is
    defined (U20). If a failed stock rescue has left its rescue definition, the
    original is taken from unrescue.xml. Errors of Nova and libvirt propagate.

    :param managed: the guest has not been powered off for this rescue
    :raises Refused: if Nova cannot build a complete definition, or if another request
        has taken the server over
    :raises InvalidDomain: if libvirt returns no domain definition
    """
    was_active = instance.vm_state == vm_states.ACTIVE
    try:
        nova_guest = nova_internals.guest_of(driver, instance)
    except nova_exception.InstanceNotFound:
        LOG.warning(
            "Libvirt has no definition of the server; building it from Nova's database",
            instance=instance,
        )
        check_can_be_built(driver, instance)
        definition = nova_internals.build_definition(
            driver, context, instance, block_device_info
        )
        # A server that is deleted in between must not be defined again.
        with ownership.still_rescuing(instance):
            nova_internals.define_guest(driver, definition)
        built = guest.defined(nova_internals.guest_of(driver, instance))
        layouts = [layout_of(built)]
        return Origin(built, built, layouts, is_active=False, was_running=was_active)
    server = read(nova_guest, instance, managed)
    if server.is_misplaced:
        LOG.warning(
            "A failed rescue has left its rescue definition in libvirt; deriving the "
            "rescue from the original definition in unrescue.xml",
            instance=instance,
        )
    return server


def check_can_be_built(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance"
) -> None:
    """Check that Nova can build a complete definition of a server.

    :raises Refused: if a device would be missing
    """
    missing = nova_internals.devices_from_outside(driver, instance)
    if missing:
        raise exception.Refused(
            "the hypervisor has no definition of this server, and a rescue cannot "
            f"find its {' and '.join(missing)}; hard reboot the server first"
        )


def read(
    nova_guest: libvirt_guest.Guest, instance: "objects.Instance", managed: bool
) -> Origin:
    """Return what a rescue of a server that libvirt has starts from.

    Nothing is changed. Errors of libvirt propagate.

    :param managed: the guest has not been powered off for this rescue
    :raises InvalidDomain: if libvirt returns no domain definition
    """
    was_active = instance.vm_state == vm_states.ACTIVE
    layouts = guest.layouts(nova_guest)
    original = guest.read_original(nova_guest)
    if recognize.is_rescue(original):
        saved = store_of(instance).load_original()
        if saved is not None:
            return Origin(
                saved,
                saved,
                [layout_of(saved)],
                is_active=False,
                was_running=True,
                is_misplaced=True,
            )
    is_active = bool(nova_guest.is_active())
    return Origin(
        original,
        guest.defined(nova_guest),
        layouts,
        is_active,
        was_running=is_active or (was_active and not managed),
    )


def put_back(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance", server: Origin
) -> None:
    """Define the original definition if libvirt holds another; the guest is then off.

    Errors of libvirt propagate.

    :raises Refused: if another request has taken the server over
    """
    if server.is_misplaced:
        with ownership.still_rescuing(instance):
            guest.replace_definition(driver, instance, server.original.to_xml())
