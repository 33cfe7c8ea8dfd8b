# SPDX-License-Identifier: Apache-2.0
"""The rescue medium, made through Nova's image backends.

An existing medium is never used. It is removed and made again from its image, so that
a stale one cannot be booted (U9). The record holds the image's id and checksum.
"""

from pathlib import Path
from typing import Any

from nova import conf as nova_conf
from nova import context as nova_context
from nova import objects
from nova.storage import rbd_utils
from nova.virt.libvirt import driver as libvirt_driver
from nova.virt.libvirt import imagecache
from nova.virt.libvirt import utils as libvirt_utils
from nova.virt.libvirt.storage import lvm

from stable_rescue import nova_internals, steps
from stable_rescue.domain.medium import Medium
from stable_rescue.domain.recognize import CONFIG_DRIVE, RESCUE_DISK, RESCUE_SUFFIX
from stable_rescue.plan import RescueRequest
from stable_rescue.storage import disk_info, files, kernel, nvram, overlays

CONF = nova_conf.CONF

#: The names of the rescue disk and the config drive.
NAMES = (RESCUE_DISK, CONFIG_DRIVE + RESCUE_SUFFIX)

_REMOVE_LVM = steps.changes("remove LVM volumes")
_REMOVE_RBD = steps.changes("remove RBD images")


class RescueMedium:
    """The medium of one instance's rescue, for a device on a bus."""

    def __init__(
        self,
        driver: libvirt_driver.LibvirtDriver,
        instance: "objects.Instance",
        request: RescueRequest,
    ) -> None:
        self._driver = driver
        self._instance = instance
        assert request.bus is not None  # plan.resolve() has chosen it
        # Nova needs some target name; the plan chooses the real one.
        self._mapping = {"bus": request.bus, "type": request.device, "dev": "rescue"}

    def describe(self) -> Medium:
        """Return the medium as the domain will see it, whether it exists or not."""
        xml = nova_internals.rescue_disk_xml(
            self._driver, self._instance, self._mapping
        )
        if not _path(self._instance).exists():
            # Nova has just written the format of a disk that does not exist.
            disk_info.remove(_folder(self._instance), [RESCUE_DISK])
        return Medium(xml)

    def fetch(
        self, context: nova_context.RequestContext, image: dict[str, Any]
    ) -> None:
        """Make the medium from its image, after removing a stale one (U9).

        :param image: the image as Nova's image API returns it
        :raises nova.exception.NovaException: if the image cannot be fetched or used
        :raises OSError: if the host cannot store the medium
        """
        remove(self._driver, self._instance)
        if self._driver.image_backend.backend().is_file_in_instance_path():
            _build(self._driver, context, self._instance, image["id"])
            files.move_into_place(_path(self._instance))
            disk_info.remove(_folder(self._instance), [_temporary_name(self._instance)])
        else:
            nova_internals.fetch_rescue_disk(
                self._driver, context, self._instance, image["id"], self._mapping
            )
        kernel.fetch(self._driver, context, self._instance, image)


@steps.changes("build the medium in a temporary file")
def _build(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    image_id: str,
) -> None:
    """Make the medium under another name, because Nova would use an incomplete one."""
    driver.image_backend.by_name(instance, _temporary_name(instance)).cache(
        fetch_func=libvirt_utils.fetch_image,
        context=context,
        filename=imagecache.get_cache_fname(image_id),
        image_id=image_id,
        trusted_certs=instance.trusted_certs,
    )


def remove(driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance") -> None:
    """Remove the medium, config drive, kernel, UEFI variables and overlays of a rescue.

    A missing file or volume is no error. Errors of Nova's storage drivers propagate.
    """
    nvram.remove(instance)
    overlays.remove(instance)
    kernel.remove(instance)
    for name in NAMES:
        files.remove(Path(_folder(instance), name))
    disk_info.remove(
        _folder(instance), [*NAMES, _temporary_name(instance), *kernel.NAMES]
    )
    lvm_volumes = nova_internals.rescue_disks_of_lvm(driver, instance)
    if lvm_volumes:
        with _REMOVE_LVM:
            lvm.remove_volumes(lvm_volumes)
    if CONF.libvirt.images_type == "rbd":
        names = {f"{instance.uuid}_{name}" for name in NAMES}
        with _REMOVE_RBD:
            rbd_utils.RBDDriver().cleanup_volumes(names.__contains__)


def _folder(instance: "objects.Instance") -> str:
    return str(libvirt_utils.get_instance_path(instance))


def _path(instance: "objects.Instance") -> Path:
    return Path(_folder(instance), RESCUE_DISK)


def _temporary_name(instance: "objects.Instance") -> str:
    return files.temporary_path(_path(instance)).name
