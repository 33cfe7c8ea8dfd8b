# SPDX-License-Identifier: Apache-2.0
"""What a rescue would do with a server, found out without changing anything.

``preparation`` makes the checks and derives the plan. What cannot be checked without a
change is a finding of the plan that begins with "not checked".
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from nova import conf as nova_conf
from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from nova.virt import driver as virt_driver
from nova.virt.libvirt import driver as libvirt_driver
from nova.virt.libvirt import guest as libvirt_guest
from nova.virt.libvirt import utils as libvirt_utils

from stable_rescue import exception, nova_internals
from stable_rescue.domain import recognize
from stable_rescue.plan import RescuePlan
from stable_rescue.storage import disk_info, inspection, kernel, medium, volumes
from stable_rescue.storage.store import remove_instance_directory, store_of
from stable_rescue.storage.volume import Volume, lacks_secret, volumes_of
from stable_rescue.virt import guest, origin, preparation
from stable_rescue.virt.origin import Origin
from stable_rescue.virt.preparation import Decision, Subject

CONF = nova_conf.CONF

#: The findings of every plan, and of a plan with an image without a kernel.
NOT_TRIED = (
    "not checked: whether libvirt accepts the rescue definition, because it would have "
    "to be defined; a rescue tries that before power-off"
)
NOT_FETCHED = (
    "not checked: the rescue image after its first 4 MiB, and whether the host has "
    "room for it; a rescue fetches the image before power-off"
)


@dataclass(frozen=True)
class Planned:
    """The plan of a rescue that nobody has requested.

    ``check_unchanged`` raises Refused if the server has other devices than planned.
    """

    plan: RescuePlan
    check_unchanged: Callable[[], None]


def plan(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    image: dict[str, Any],
    get_block_device_info: Callable[[], dict[str, Any]],
) -> Planned:
    """Return what a rescue with an image would do; nothing is changed.

    Errors of Nova, Glance and libvirt propagate.

    :param image: the image, as Nova's image API returns it
    :param get_block_device_info: returns the server's block devices, as Nova passes
        them to drivers
    :raises Refused: if the rescue would be refused
    :raises NotPlanned: if a plan cannot be made without a change
    """
    request = preparation.request_of(image)
    if request is None:
        inspection.check_stock(context, instance, image)
        raise exception.NotPlanned(
            f"rescue image {image['id']} asks for a stock rescue, and Nova builds its "
            "definition only when the guest is off; the checks of the image succeed. "
            "For the plan of a stable rescue, set hw_rescue_bus or hw_rescue_device"
        )
    folder = libvirt_utils.get_instance_path(instance)
    block_device_info = get_block_device_info()
    nova_guest = _guest_of(driver, instance)
    try:
        with disk_info.unchanged(folder, medium.NAMES):
            # A rescue defines a misplaced original first, and compares with that.
            layouts = guest.layouts(nova_guest)
            server = origin.read(nova_guest, instance, managed=True)
            subject = Subject(
                driver, context, instance, image, request, block_device_info, server
            )
            derived = _plan(subject)
        return Planned(
            derived, functools.partial(guest.check_unchanged, driver, instance, layouts)
        )
    finally:
        if guest.current(driver, instance) is None:
            # Nova's image backends may have made the directory again after a deletion.
            remove_instance_directory(instance)


def _plan(subject: Subject) -> RescuePlan:
    driver, instance, server = subject.driver, subject.instance, subject.server
    decision = preparation.decide(subject)
    # As in a rescue, the server's definition is checked before its volumes.
    decision.derive({})
    unchecked = _volumes_to_connect(subject.block_device_info, server)
    names = {volume.device.volume_id for volume in unchecked}
    present = _without(subject.block_device_info, names)
    volume_disks = volumes.verify(
        driver,
        subject.context,
        instance,
        present,
        server.original,
        change_nothing=True,
    )
    derived = decision.derive(volume_disks)
    if decision.overlays is not None and not unchecked:
        decision.overlays.measure(derived, server.is_active)
        derived = decision.derive(volume_disks)
    findings = (
        *derived.findings,
        *_of_earlier_rescue(instance, server),
        *_of_volumes(driver, present, server, unchecked),
        *_of_medium(subject.image),
        *_of_overlays(decision, unchecked),
        NOT_TRIED,
    )
    return dataclasses.replace(derived, findings=findings)


def _guest_of(
    driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance"
) -> libvirt_guest.Guest:
    """Return the guest of a server whose definition a rescue would start from.

    :raises Refused: if libvirt has no definition, and Nova cannot build one
    :raises NotPlanned: if a rescue would change libvirt's definition first
    """
    try:
        nova_guest = nova_internals.guest_of(driver, instance)
    except nova_exception.InstanceNotFound:
        origin.check_can_be_built(driver, instance)
        raise exception.NotPlanned(
            "libvirt has no definition of the server. A rescue has Nova build one and "
            "defines it, and only then are the addresses of the devices known; hard "
            "reboot the server for a plan"
        ) from None
    if store_of(instance).has_record() and recognize.is_rescue(
        guest.defined(nova_guest)
    ):
        raise exception.NotPlanned(
            "an earlier rescue has left its definition in libvirt, and a new rescue "
            "ends the earlier one first; run stable-rescue recover"
        )
    return nova_guest


def _volumes_to_connect(
    block_device_info: dict[str, Any], server: Origin
) -> list[Volume]:
    """Return the volumes whose <disk> is known only after a rescue connects them.

    QEMU itself connects to Ceph. The volumes of a running guest are connected.
    """
    if server.is_active:
        return []
    return [
        volume
        for volume in volumes_of(block_device_info, server.original)
        if volume.connection_info().get("driver_volume_type") != "rbd"
    ]


def _without(block_device_info: dict[str, Any], volume_ids: set[str]) -> dict[str, Any]:
    """Return block devices without some volumes."""
    mapping = [
        device
        for device in virt_driver.block_device_info_get_mapping(block_device_info)
        if device.volume_id not in volume_ids
    ]
    return {**block_device_info, "block_device_mapping": mapping}


def _of_earlier_rescue(instance: "objects.Instance", server: Origin) -> Iterator[str]:
    if server.is_misplaced:
        yield (
            "a failed rescue has left its definition in libvirt; the plan starts from "
            "the original definition in unrescue.xml, which a rescue defines first"
        )
    if store_of(instance).has_record():
        yield (
            "an earlier rescue has left its record; a rescue removes what is left of "
            "the earlier one first"
        )


def _of_volumes(
    driver: libvirt_driver.LibvirtDriver,
    block_device_info: dict[str, Any],
    server: Origin,
    unchecked: list[Volume],
) -> Iterator[str]:
    for volume in unchecked:
        yield (
            f"not checked: {volume.name}, because the server is off; a rescue connects "
            "the volume, and the definition gets the source that it has then"
        )
    for volume in volumes_of(block_device_info, server.original):
        if lacks_secret(driver, volume):
            yield (
                f"not checked: {volume.name} is encrypted, and libvirt has lost its "
                "secret; a rescue gets the key from the key manager again"
            )


def _of_medium(image: dict[str, Any]) -> Iterator[str]:
    if CONF.glance.verify_glance_signatures:
        yield (
            "not checked: the content of the rescue image, because Nova verifies "
            "signatures, which needs the whole image"
        )
    else:
        yield NOT_FETCHED
    if kernel.has_kernel(image):
        yield "not checked: the kernel and the ramdisk of the rescue image"
    if not CONF.force_raw_images and _has_images_format():
        yield (
            "not checked: the format of the rescue disk, which the image decides "
            "because force_raw_images is false; the definition here may have another"
        )


def _of_overlays(decision: Decision, unchecked: list[Volume]) -> Iterator[str]:
    if decision.overlays is not None and unchecked:
        yield (
            "not checked: whether the host has space for what the rescue system "
            "writes, because the server is off and the sizes of its volumes are not "
            "known; the definition gets the limits when a rescue connects them"
        )


def _has_images_format() -> bool:
    """Return True if Nova makes a rescue disk in whatever format its image has."""
    kind = CONF.libvirt.images_type
    return kind in ("raw", "flat") or (kind == "default" and not CONF.use_cow_images)
