# SPDX-License-Identifier: Apache-2.0
"""End the server's own system for a rescue: shut it down, or keep its memory."""

from pathlib import Path

from nova import context as nova_context
from nova import objects
from nova.virt.libvirt import driver as libvirt_driver

from stable_rescue.storage.record import Record, State
from stable_rescue.storage.store import store_of
from stable_rescue.virt import guest, memory
from stable_rescue.virt.phase import phase
from stable_rescue.virt.refusal import failing

_FAILED = "the server could not be powered off"


def end_system(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    prepared: Record,
) -> None:
    """Save how to restore the server, and power its guest off.

    If anything fails, the guest may be paused, or off.

    :raises nova.exception.InstanceNotRescuable: with a reason fit for a tenant
    """
    if prepared.memory_dump is None:
        with phase(context, instance, "rescue_power_off"):
            _get_ready(driver, instance, prepared)
            with failing(instance, _FAILED):
                guest.shut_down(driver, instance)
        return
    with phase(context, instance, "rescue_dump"):
        _get_ready(driver, instance, prepared)
        with failing(instance, "the server's memory could not be dumped"):
            memory.dump(driver, instance, Path(prepared.memory_dump))
    with phase(context, instance, "rescue_power_off"), failing(instance, _FAILED):
        # A system that is asked to shut down can destroy evidence.
        guest.shut_down(driver, instance, clean=False)


def _get_ready(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance", prepared: Record
) -> None:
    """Do what must be done before the guest is off, or paused."""
    with failing(instance, "the rescue could not begin"):
        store = store_of(instance)
        store.save(prepared.at(State.BEGINNING))
        store.save_original(prepared.original_xml)
        if not prepared.is_stock:
            guest.plug_nics(driver, instance)
