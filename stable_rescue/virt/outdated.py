# SPDX-License-Identifier: Apache-2.0
"""Records of an earlier rescue, which must not be acted on.

If a host is switched to Nova's driver while a server is rescued, that driver unrescues
the server, and may rescue it again, without the record. After the host is switched
back, the record describes a rescue that is over.
"""

from nova import objects
from nova.compute import vm_states
from nova.virt.libvirt import driver as libvirt_driver
from oslo_log import log as logging

from stable_rescue.domain import recognize
from stable_rescue.domain.document import Domain
from stable_rescue.domain.layout import differences, layout_of
from stable_rescue.storage.record import Record, State
from stable_rescue.storage.store import store_of
from stable_rescue.virt import guest

LOG = logging.getLogger(__name__)


def is_outdated(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance", record: Record
) -> bool:
    """Return True if a record is certainly not of the rescue that the server is in.

    Errors of libvirt propagate.

    :raises InvalidDomain: if libvirt returns no domain definition
    """
    # In any other state, the server was restored since, and the record is cleaned up.
    if instance.vm_state not in (vm_states.RESCUED, vm_states.ERROR):
        return False
    current = guest.current(driver, instance)
    if current is not None and recognize.is_rescue(current):
        in_stock_rescue = recognize.rescue_disk(current) is None
        if in_stock_rescue is not record.is_stock:
            # While a rescue is being prepared, libvirt may still have the definition of
            # an earlier one that failed.
            return record.state is not State.PREPARING or (
                instance.vm_state == vm_states.RESCUED
            )
        if not in_stock_rescue:
            return False
    # Both states come after unrescue.xml was written.
    if record.state not in (State.RESCUED, State.ENDING):
        return False
    saved = store_of(instance).load_original()
    return saved is not None and bool(
        differences(
            layout_of(saved, with_sources=False),
            layout_of(Domain.parse(record.original_xml), with_sources=False),
        )
    )


def seems_outdated(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance", record: Record
) -> bool:
    """Return True if a record is outdated; False if libvirt does not answer."""
    try:
        return is_outdated(driver, instance, record)
    except Exception:
        LOG.warning(
            "Could not compare the rescue record with libvirt's definition; using the "
            "record",
            exc_info=True,
            instance=instance,
        )
        return False


def remove(driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance") -> None:
    """Remove the record if it is outdated. The caller holds the instance's lock.

    Errors of libvirt and of the storage propagate.

    :raises InvalidDomain: if libvirt returns no domain definition
    """
    store = store_of(instance)
    record = store.load()
    if record is None or not is_outdated(driver, instance, record):
        return
    LOG.warning(
        "Removing a rescue record (state %s, rescued at %s) that belongs to an earlier "
        "rescue; the server was rescued again without it",
        record.state.value,
        record.rescued_at,
        instance=instance,
    )
    if store.has_rescue_as_original():
        # A stock rescue over a stable one that had failed: the record alone has the
        # original definition (U8).
        store.save_original(record.original_xml)
    store.remove_record()
