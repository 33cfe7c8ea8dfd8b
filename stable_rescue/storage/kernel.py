# SPDX-License-Identifier: Apache-2.0
"""The kernel and ramdisk of a rescue image, in the instance's directory (E1)."""

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
#: The names of both files in the instance's directory.
NAMES = (_KERNEL, _RAMDISK)
# The values of kernel_id and ramdisk_id in Glance that mean "none".
_NONE = ("", "nokernel", "noramdisk")

_FETCH = steps.changes("fetch a kernel or ramdisk")


def has_kernel(image: dict[str, Any]) -> bool:
    """Return True if an image has a kernel, which the rescue boots."""
    return _id(image.get("properties") or {}, "kernel_id") is not None


def kernel_of(instance: "objects.Instance", image: dict[str, Any]) -> Kernel | None:
    """Return the image's kernel, which the rescue boots; None if it has none."""
    properties = image.get("properties") or {}
    if not has_kernel(image):
        return None
    folder = libvirt_utils.get_instance_path(instance)
    has_ramdisk = _id(properties, "ramdisk_id") is not None
    return Kernel(
        str(Path(folder, _KERNEL)),
        str(Path(folder, _RAMDISK)) if has_ramdisk else None,
        properties.get("os_command_line") or None,
    )


def fetch(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    image: dict[str, Any],
) -> None:
    """Fetch the kernel and the ramdisk of an image, if it has them.

    :raises nova.exception.NovaException: if one cannot be fetched or used
    """
    properties = image.get("properties") or {}
    for name, key in ((_KERNEL, "kernel_id"), (_RAMDISK, "ramdisk_id")):
        image_id = _id(properties, key)
        if image_id is None:
            continue
        with _FETCH:
            driver.image_backend.by_name(instance, name, "raw").cache(
                fetch_func=libvirt_utils.fetch_raw_image,
                context=context,
                filename=imagecache.get_cache_fname(image_id),
                image_id=image_id,
            )


def remove(instance: "objects.Instance") -> None:
    """Remove the kernel and the ramdisk; a missing one is no error."""
    for name in NAMES:
        files.remove(Path(libvirt_utils.get_instance_path(instance), name))


def _id(properties: dict[str, Any], key: str) -> str | None:
    image_id = properties.get(key) or ""
    return None if image_id in _NONE else str(image_id)
