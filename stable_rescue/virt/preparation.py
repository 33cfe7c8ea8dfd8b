# SPDX-License-Identifier: Apache-2.0
"""Everything of a rescue that is done while the guest still runs."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nova import conf as nova_conf
from nova import context as nova_context
from nova import objects
from nova.virt.libvirt import driver as libvirt_driver
from oslo_log import log as logging

from stable_rescue import exception, nova_internals, plan
from stable_rescue.domain.document import Domain
from stable_rescue.image_meta import RescueImageMetaProps
from stable_rescue.plan import RescueMedia, RescuePlan, RescueRequest, ServerDisks
from stable_rescue.storage import (
    config_drive,
    content,
    inspection,
    kernel,
    medium,
    nvram,
    records,
    volumes,
)
from stable_rescue.storage.medium import RescueMedium
from stable_rescue.storage.record import Record, State
from stable_rescue.virt import definition, origin
from stable_rescue.virt.phase import phase
from stable_rescue.virt.refusal import refusing
from stable_rescue.virt.undo import Undo

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)

# What rescues by <boot order>; other hypervisors of libvirt have none.
_VIRT_TYPES = ("kvm", "qemu")


@dataclass(frozen=True)
class Prepared:
    """A rescue that is ready to begin, and what removes it again where it is not to."""

    record: Record
    discard: Callable[[], None]


def request_of(image: dict[str, Any]) -> RescueRequest | None:
    """Return what a rescue image asks for, or None for Nova's own rescue.

    :param image: the image as Nova's image API gives it
    :raises Refused: where it asks for what cannot be
    """
    props = RescueImageMetaProps.from_image(image)
    if props.asks_for_stable:
        device = props.get("hw_rescue_device", "disk")
        bus = props.get("hw_rescue_bus")
    elif CONF.stable_rescue.default_mode == "stable":
        device = CONF.stable_rescue.default_device
        bus = CONF.stable_rescue.default_bus or None
    else:
        return None
    if CONF.libvirt.virt_type not in _VIRT_TYPES:
        raise exception.Refused(
            f"stable rescue is not possible with virt_type {CONF.libvirt.virt_type}; "
            f"it is with {' and '.join(_VIRT_TYPES)}"
        )
    return RescueRequest(
        device,
        bus,
        tuple(CONF.stable_rescue.fallback_buses),
        CONF.stable_rescue.allow_gaps,
        CONF.stable_rescue.allow_mapping_mismatch,
    )


def prepare(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    image: dict[str, Any],
    request: RescueRequest,
    admin_password: str,
    block_devices: Callable[[], dict[str, Any]],
    managed: bool,
) -> Prepared:
    """Decide the rescue, fetch its medium, have libvirt accept it; write the record.

    The guest is not touched.

    :param block_devices: returns the server's block devices, as drivers take them
    :param managed: whether a manager of ours has not powered it off before
    :raises Exception: whatever stands in the way; what was made is removed again
    """
    with phase(context, instance, "rescue_plan"), refusing(instance):
        devices = block_devices()
        store = records.store_of(instance)
        found = origin.find(driver, context, instance, devices, store, managed)
        own = found.definition
        original = Domain.parse(own)
        has_drive = config_drive.is_wanted(original)
        expected = volumes.expected(devices)
        request = plan.resolve(original, request)
        findings = _inspect(driver, context, instance, image, request, original)
        rescue_medium = RescueMedium(driver, instance, request)
        added_drive = config_drive.to_add(driver, instance)

        def derive(disks: Mapping[str, str] | None = None) -> RescuePlan:
            made = plan.derive(
                original,
                request,
                RescueMedia(
                    rescue_medium.describe(),
                    nvram.copy_for(instance, original),
                    kernel.kernel_of(instance, image),
                    added_drive,
                    has_drive,
                ),
                ServerDisks(expected, disks or {}),
            )
            return dataclasses.replace(made, findings=(*findings, *made.findings))

        launched = instance.launched_at
        record = Record.of(
            derive(),
            image,
            found.ran,
            found.defined,
            launched.isoformat() if launched else "",
        )
    undo = Undo(instance, lastly=store.forget)
    with phase(context, instance, "rescue_prepare"), refusing(instance), undo:
        store.save(record)
        if found.misplaced:
            definition.lay_down(driver, instance, own)
        # A running guest has its volumes; a stopped one's host may have been rebooted.
        look_after = volumes.verify if found.is_active else volumes.connect
        connected = look_after(driver, context, instance, devices, original)
        undo.add(volumes.disconnect, driver, context, instance, connected.connections)
        undo.add(medium.remove, driver, instance)
        rescue_medium.fetch(context, image)
        if has_drive:
            config_drive.make(driver, context, instance, admin_password)
        # Some backends know the format of their disk once it is there.
        decided = derive(connected.disks)
        _log(decided, instance)
        record = record.of_plan(decided)
        undo.add(definition.put_back, driver, instance, record.defined)
        definition.try_out(driver, instance, record.after)
        record = record.at(State.PREPARED)
        store.save(record)
    return Prepared(record, undo.undo)


def _log(decided: RescuePlan, instance: "objects.Instance") -> None:
    for edit in decided.edits:
        LOG.debug("Rescue: %s (%s)", edit.what, edit.rule, instance=instance)
    for finding in decided.findings:
        LOG.warning("Rescue: %s", finding, instance=instance)


def _inspect(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    image: dict[str, Any],
    request: RescueRequest,
    original: Domain,
) -> tuple[str, ...]:
    """Check a rescue image before it is fetched (UPSTREAM U12); return what to know.

    :raises Exception: why it cannot do, or cannot be had
    """
    device = request.device
    inspection.check(
        instance, image, device, original, inspection.root_gb(context, instance)
    )
    seen = content.read(nova_internals.image_api_of(driver), context, image)
    if seen is not None:
        on_usb = (device, request.bus) == ("cdrom", "usb")
        lost = on_usb and not nova_internals.has_usb_cdroms(driver)
        seen_as = "disk" if lost else device
        inspection.check_content(image, device, seen, seen_as)
    return inspection.findings(instance, image, device)
