# SPDX-License-Identifier: Apache-2.0
"""Everything of a rescue that is done while the guest still runs."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nova import conf as nova_conf
from nova import context as nova_context
from nova import objects
from nova.virt import hardware
from nova.virt.libvirt import driver as libvirt_driver
from oslo_log import log as logging

from stable_rescue import exception, nova_internals, plan
from stable_rescue.image_meta import RescueImageMetaProps
from stable_rescue.plan import RescueMedia, RescuePlan, RescueRequest, ServerDisks
from stable_rescue.storage import (
    config_drive,
    content,
    inspection,
    kernel,
    medium,
    memory_dump,
    nvram,
    volumes,
)
from stable_rescue.storage.medium import RescueMedium
from stable_rescue.storage.overlays import RescueOverlays
from stable_rescue.storage.record import Record, State
from stable_rescue.storage.store import store_of
from stable_rescue.virt import guest, memory, origin
from stable_rescue.virt.origin import Origin
from stable_rescue.virt.phase import phase
from stable_rescue.virt.refusal import refusing
from stable_rescue.virt.rollback import Rollback

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)

# Libvirt's other hypervisors do not boot by <boot order>.
VIRT_TYPES = ("kvm", "qemu")


@dataclass(frozen=True)
class Subject:
    """What a rescue is decided on; nothing of it changes meanwhile.

    ``image`` is as Nova's image API returns it, and ``block_device_info`` as Nova
    passes it to drivers. ``request`` is what the image asks for.
    """

    driver: libvirt_driver.LibvirtDriver
    context: nova_context.RequestContext
    instance: "objects.Instance"
    image: dict[str, Any]
    request: RescueRequest
    block_device_info: dict[str, Any]
    server: Origin


@dataclass(frozen=True)
class Decision:
    """A rescue that is decided, and nothing is changed.

    ``overlays`` is None if the rescue keeps what it writes, and ``memory_dump`` if it
    does not keep the server's memory. ``derive`` returns the plan, given what Nova
    would write now for the volumes: <disk> elements by target name.
    """

    medium: RescueMedium
    has_config_drive: bool
    overlays: RescueOverlays | None
    memory_dump: Path | None
    derive: Callable[[Mapping[str, str]], RescuePlan]


@dataclass(frozen=True)
class Prepared:
    """A rescue that is ready to begin.

    ``check_unchanged`` raises Refused if the server has other devices than planned.
    ``discard`` removes the rescue if it is not wanted.
    """

    record: Record
    check_unchanged: Callable[[], None]
    discard: Callable[[], None]


def request_of(image: dict[str, Any]) -> RescueRequest | None:
    """Return what a rescue image asks for, or None for a stock rescue.

    :param image: the image, as Nova's image API returns it
    :raises Refused: if a property has a value that is not allowed, or if the host's
        virt_type has no stable rescue
    """
    props = RescueImageMetaProps.from_image(image)
    options = {
        "hw_rescue_network": CONF.stable_rescue.allowed_networks,
        "hw_rescue_writes": CONF.stable_rescue.allowed_writes,
        "hw_rescue_memory": memory_dump.allowed(),
    }
    wanted = {name: props.get(name) for name in options if props.get(name)}
    if props.asks_for_stable:
        device = props.get("hw_rescue_device", "disk")
        bus = props.get("hw_rescue_bus")
    elif CONF.stable_rescue.default_mode == "stable":
        device = CONF.stable_rescue.default_device
        bus = CONF.stable_rescue.default_bus
    else:
        for name, value in wanted.items():
            if value not in ("keep", "none"):
                raise exception.Refused(
                    f"rescue image {image['id']} has {name}={value}, but asks for a "
                    "stock rescue, which cannot do that; set hw_rescue_bus on it"
                )
        return None
    for name, value in wanted.items():
        if value not in options[name]:
            raise exception.Refused(
                f"rescue image {image['id']} has {name}={value}; the operator allows "
                f"{', '.join(options[name]) or 'none'}"
            )
    if CONF.libvirt.virt_type not in VIRT_TYPES:
        raise exception.Refused(
            f"stable rescue is not possible with virt_type {CONF.libvirt.virt_type}, "
            f"only with {' and '.join(VIRT_TYPES)}"
        )
    return RescueRequest(
        device,
        bus or None,
        tuple(CONF.stable_rescue.fallback_buses),
        CONF.stable_rescue.allow_gaps,
        CONF.stable_rescue.allow_mapping_mismatch,
        quarantine=wanted.get("hw_rescue_network") == "quarantine",
        discard=wanted.get("hw_rescue_writes") == "discard",
        dump=wanted.get("hw_rescue_memory") == "dump",
    )


def is_stable(
    instance: "objects.Instance", image_meta: "objects.ImageMeta", managed: bool
) -> bool:
    """Return True if the image of a rescue that is not prepared asks for a stable one.

    :param managed: the manager has decided on a stock rescue before power-off
    :raises nova.exception.InstanceNotRescuable: if the image has changed since
    """
    stable = (
        bool(hardware.check_hw_rescue_props(image_meta))
        or CONF.stable_rescue.default_mode == "stable"
    )
    with refusing(instance):
        if stable and managed:
            raise exception.Refused(
                "the rescue image changed while the rescue was being prepared; "
                "try again"
            )
    return stable


def decide(subject: Subject) -> Decision:
    """Check the image, and decide the rescue; nothing is changed.

    Errors of Glance and of Nova's image backends propagate.

    :raises Refused: if the rescue is not possible
    """
    driver, instance, server = subject.driver, subject.instance, subject.server
    original = server.original
    request = plan.resolve(original, subject.request)
    findings = _inspect(subject, request)
    rescue_medium = RescueMedium(driver, instance, request)
    has_config_drive = config_drive.is_wanted(original)
    added_config_drive = config_drive.to_add(driver, instance)
    expected = volumes.expected(subject.block_device_info)
    rescue_overlays = RescueOverlays(driver, instance)

    def derive(volume_disks: Mapping[str, str]) -> RescuePlan:
        media = RescueMedia(
            rescue_medium.describe(),
            nvram.copy_for(instance, original),
            kernel.kernel_of(instance, subject.image),
            added_config_drive,
            has_config_drive,
            rescue_overlays.describe(),
        )
        disks = ServerDisks(expected, volume_disks)
        derived = plan.derive(original, request, media, disks)
        return dataclasses.replace(derived, findings=(*findings, *derived.findings))

    return Decision(
        rescue_medium,
        has_config_drive,
        rescue_overlays if request.discard else None,
        memory.decide(instance, original, server.is_active) if request.dump else None,
        derive,
    )


def prepare(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    image: dict[str, Any],
    request: RescueRequest,
    admin_password: str,
    get_block_device_info: Callable[[], dict[str, Any]],
    managed: bool,
) -> Prepared:
    """Decide the rescue, fetch its medium, let libvirt check it, write the record.

    The guest is not touched.

    :param get_block_device_info: returns the server's block devices, as Nova passes
        them to drivers
    :param managed: the guest has not been powered off for this rescue
    :raises nova.exception.InstanceNotRescuable: with the reason, if anything fails;
        everything that was done is rolled back
    """
    with phase(context, instance, "rescue_plan"), refusing(instance):
        block_device_info = get_block_device_info()
        server = origin.find(driver, context, instance, block_device_info, managed)
        decision = decide(
            Subject(
                driver, context, instance, image, request, block_device_info, server
            )
        )
        record = Record.of(
            decision.derive({}),
            image,
            server.was_running,
            server.defined,
            instance.launched_at,
            decision.memory_dump,
        )
    store = store_of(instance)
    rollback = Rollback(instance, lastly=store.remove_record)
    with phase(context, instance, "rescue_prepare"), refusing(instance), rollback:
        store.save(record)
        origin.put_back(driver, instance, server)
        # The volumes of a running guest are connected. The host of a stopped guest may
        # have been rebooted, so its volumes may not be.
        disks = (driver, context, instance, block_device_info, server.original)
        connections: list[volumes.Connection] = []
        rollback.add(volumes.disconnect, driver, context, instance, connections)
        if server.is_active:
            volume_disks = volumes.verify(*disks)
        else:
            volume_disks = volumes.connect(*disks, connections)
        rollback.add(medium.remove, driver, instance)
        decision.medium.fetch(context, image)
        if decision.has_config_drive:
            config_drive.make(driver, context, instance, admin_password)
        # Some image backends know the format of their disk only once it is there.
        final = decision.derive(volume_disks)
        if decision.overlays is not None:
            decision.overlays.measure(final, server.is_active)
            decision.overlays.make()
            final = decision.derive(volume_disks)
        _log(final, instance)
        record = record.with_plan(final)
        rollback.add(guest.end_trial, driver, instance, record.defined_xml)
        guest.try_out(driver, instance, final.rescue, server.layouts)
        record = record.at(State.PREPARED)
        store.save(record)

    def check_unchanged() -> None:
        guest.check_unchanged(driver, instance, server.layouts)
        if decision.memory_dump is not None:
            memory.check_again(driver, instance)

    return Prepared(record, check_unchanged, rollback.run)


def _log(final: RescuePlan, instance: "objects.Instance") -> None:
    for edit in final.edits:
        LOG.debug("Rescue: %s (%s)", edit.what, edit.rule, instance=instance)
    for finding in final.findings:
        LOG.warning(
            "The rescue continues with a warning: %s", finding, instance=instance
        )


def _inspect(subject: Subject, request: RescueRequest) -> tuple[str, ...]:
    """Check a rescue image before it is fetched (U12); return the findings.

    Errors of Glance propagate.

    :param request: what the image asks for, with the bus that is chosen
    :raises Refused: if the image is not suitable
    """
    driver, context, instance = subject.driver, subject.context, subject.instance
    image, device = subject.image, request.device
    root_gb = inspection.root_gb(context, instance)
    inspection.check(instance, image, device, subject.server.original, root_gb)
    seen = content.read(nova_internals.image_api_of(driver), context, image)
    if seen is not None:
        on_usb = (device, request.bus) == ("cdrom", "usb")
        # The guest sees such a CD-ROM as a hard disk (F34).
        is_disk = on_usb and not nova_internals.has_usb_cdroms(driver)
        inspection.check_content(image, device, seen, "disk" if is_disk else device)
    return inspection.findings(instance, image, device)
