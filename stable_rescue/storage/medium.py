# SPDX-License-Identifier: Apache-2.0
"""The rescue medium, through Nova's image backends.

A medium that is found is never used: it is removed and made anew from its image, so
that a stale one cannot be booted (UPSTREAM U9). The record says of which image and
which checksum it is.
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
from stable_rescue.domain.recognise import CONFIG_DRIVE, RESCUE_DISK, RESCUE_SUFFIX
from stable_rescue.plan import RescueRequest
from stable_rescue.storage import disk_info, files, kernel, nvram

CONF = nova_conf.CONF

_NAMES = (RESCUE_DISK, CONFIG_DRIVE + RESCUE_SUFFIX)


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
        # Nova asks for a target name; the plan gives the real one.
        self._mapping = {"bus": request.bus, "type": request.device, "dev": "rescue"}

    def describe(self) -> Medium:
        """Return the medium as the domain will see it, made or not."""
        xml = nova_internals.rescue_disk_xml(
            self._driver, self._instance, self._mapping
        )
        if not _path(self._instance).exists():
            # Nova has written down what format it would have.
            disk_info.forget(_folder(self._instance), [RESCUE_DISK])
        return Medium(xml)

    def fetch(
        self, context: nova_context.RequestContext, image: dict[str, Any]
    ) -> None:
        """Create the medium from its image; a stale one is removed (UPSTREAM U9).

        :param image: the image as Nova's image API gives it

        :raises nova.exception.NovaException: where the image cannot be had or used
        :raises OSError: where the host cannot take it
        """
        remove(self._driver, self._instance)
        if self._driver.image_backend.backend().is_file_in_instance_path():
            _build(self._driver, context, self._instance, image["id"])
            files.put_in_place(_path(self._instance))
            disk_info.forget(_folder(self._instance), [_unfinished(self._instance)])
        else:
            nova_internals.fetch_rescue_disk(
                self._driver, context, self._instance, image["id"], self._mapping
            )
        kernel.fetch(self._driver, context, self._instance, image)


@steps.changes("build the medium beside its place")
def _build(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    image_id: str,
) -> None:
    """Create the medium's file under another name: Nova would use a half made one."""
    driver.image_backend.by_name(instance, _unfinished(instance)).cache(
        fetch_func=libvirt_utils.fetch_image,
        context=context,
        filename=imagecache.get_cache_fname(image_id),
        image_id=image_id,
        trusted_certs=instance.trusted_certs,
    )


def remove(driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance") -> None:
    """Remove the medium of an instance and all that was made along with it.

    What is not there is no error.
    """
    nvram.remove(instance)
    kernel.remove(instance)
    for name in _NAMES:
        files.remove(Path(_folder(instance), name))
    known = [*_NAMES, _unfinished(instance), *kernel.NAMES]
    disk_info.forget(_folder(instance), known)
    volumes = nova_internals.rescue_disks_of_lvm(driver, instance)
    if volumes:
        _remove_volumes(volumes)
    if CONF.libvirt.images_type == "rbd":
        _remove_rbd_images(_rbd_names(instance))


def exists(driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance") -> bool:
    """Say whether there is anything that :func:`remove` would remove.

    :raises Exception: where the host's storage does not tell
    """
    names = (*_NAMES, *kernel.NAMES, nvram.NAME)
    paths = [Path(_folder(instance), name) for name in names]
    if any(path.exists() or files.beside(path).exists() for path in paths):
        return True
    if nova_internals.rescue_disks_of_lvm(driver, instance):
        return True
    if CONF.libvirt.images_type == "rbd":
        return any(map(rbd_utils.RBDDriver().exists, _rbd_names(instance)))
    return False


def _folder(instance: "objects.Instance") -> str:
    return str(libvirt_utils.get_instance_path(instance))


def _path(instance: "objects.Instance") -> Path:
    return Path(_folder(instance), RESCUE_DISK)


def _unfinished(instance: "objects.Instance") -> str:
    return files.beside(_path(instance)).name


def _rbd_names(instance: "objects.Instance") -> set[str]:
    return {f"{instance.uuid}_{name}" for name in _NAMES}


@steps.changes("remove LVM volumes")
def _remove_volumes(volumes: list[str]) -> None:
    lvm.remove_volumes(volumes)


@steps.changes("remove RBD images")
def _remove_rbd_images(names: set[str]) -> None:
    rbd_utils.RBDDriver().cleanup_volumes(names.__contains__)
