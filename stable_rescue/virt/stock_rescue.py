# SPDX-License-Identifier: Apache-2.0
"""End or recover a stock rescue, or a stable rescue whose record is lost.

Nova's driver keeps no record. Only the instance's vm_state, the definition in libvirt
and unrescue.xml show that the instance is rescued.
"""

from collections.abc import Callable

from nova import context as nova_context
from nova import objects
from nova.compute import vm_states
from nova.virt.libvirt import driver as libvirt_driver
from oslo_log import log as logging

from stable_rescue import nova_internals, steps
from stable_rescue.outcome import Outcome
from stable_rescue.storage import medium
from stable_rescue.storage.store import known_rescue, store_of
from stable_rescue.virt import guest

LOG = logging.getLogger(__name__)

_BUILD_AND_START = steps.changes("build and start a domain")


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
    is_lost = known_rescue(instance).is_lost
    if is_lost and (finish or not guest.is_rescue(driver, instance)):
        unrescue(driver, context, instance, stock_unrescue)
        return Outcome.RESTORED
    if instance.vm_state == vm_states.RESCUED and not finish:
        # The guest is off if the host was rebooted (U14, U15).
        started = guest.start_as_defined(driver, context, instance)
        return Outcome.RESCUED if started else None
    if store_of(instance).has_original():
        unrescue(driver, context, instance, stock_unrescue)
        return Outcome.RESTORED
    return None


def _rebuild(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
) -> None:
    """Have Nova build the definition from its database and start the guest.

    A guest that runs with its original definition is left alone.
    """
    if guest.is_rescue(driver, instance) or not guest.is_active(driver, instance):
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
