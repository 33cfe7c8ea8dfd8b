# SPDX-License-Identifier: Apache-2.0
"""A rescue image's own kernel and ramdisk, in the instance's directory."""

from pathlib import Path
from typing import Any

from nova import context as nova_context
from nova import objects
from nova.virt.libvirt import driver as libvirt_driver
from nova.virt.libvirt import imagecache
from nova.virt.libvirt import utils as libvirt_utils

from stable_rescue import steps
from stable_rescue.domain.edits import Kernel
from stable_rescue.storage import files

_KERNEL = "kernel.rescue"
_RAMDISK = "ramdisk.rescue"
#: The files of a rescue image's own, in the instance's directory.
NAMES = (_KERNEL, _RAMDISK)
# What Glance says of an image that has none.
_NONE = ("", "nokernel", "noramdisk")


def kernel_of(instance: "objects.Instance", image: dict[str, Any]) -> Kernel | None:
    """Return where the kernel that an image brings along is to be; None: none."""
    properties = image.get("properties") or {}
    if _id(properties, "kernel_id") is None:
        return None
    folder = libvirt_utils.get_instance_path(instance)
    ramdisk = _id(properties, "ramdisk_id")
    return Kernel(
        str(Path(folder, _KERNEL)),
        str(Path(folder, _RAMDISK)) if ramdisk else None,
        properties.get("os_command_line"),
    )


def fetch(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    image: dict[str, Any],
) -> None:
    """Fetch the kernel and the ramdisk that an image brings along, if any.

    :raises nova.exception.NovaException: where one cannot be had or used
    """
    properties = image.get("properties") or {}
    for name, key in ((_KERNEL, "kernel_id"), (_RAMDISK, "ramdisk_id")):
        image_id = _id(properties, key)
        if image_id is not None:
            _fetch(driver, context, instance, name, image_id)


@steps.changes("fetch a kernel or ramdisk")
def _fetch(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    name: str,
    image_id: str,
) -> None:
    driver.image_backend.by_name(instance, name, "raw").cache(
        fetch_func=libvirt_utils.fetch_raw_image,
        context=context,
        filename=imagecache.get_cache_fname(image_id),
        image_id=image_id,
    )


def remove(instance: "objects.Instance") -> None:
    """Remove both; what is not there is no error."""
    for name in NAMES:
        files.remove(Path(libvirt_utils.get_instance_path(instance), name))


def _id(properties: dict[str, Any], key: str) -> str | None:
    found = properties.get(key) or ""
    return None if found in _NONE else str(found)
