# SPDX-License-Identifier: Apache-2.0
"""The rescue medium, through Nova's image backends."""

from pathlib import Path
from typing import Any

from nova import conf as nova_conf
from nova import context as nova_context
from nova import objects
from nova.storage import rbd_utils
from nova.virt.libvirt import driver as libvirt_driver
from nova.virt.libvirt import utils as libvirt_utils
from nova.virt.libvirt.storage import lvm

from stable_rescue import nova_internals, steps
from stable_rescue.domain.medium import Medium
from stable_rescue.domain.recognise import CONFIG_DRIVE, RESCUE_DISK, RESCUE_SUFFIX
from stable_rescue.plan import RescueRequest
from stable_rescue.storage import files, kernel, nvram

CONF = nova_conf.CONF


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
        """Return the medium as the domain will see it."""
        return Medium(
            nova_internals.rescue_disk_xml(self._driver, self._instance, self._mapping)
        )

    def fetch(
        self, context: nova_context.RequestContext, image: dict[str, Any]
    ) -> None:
        """Create the medium from its image; a stale one is removed (UPSTREAM U9).

        :param image: the image as Nova's image API gives it

        :raises nova.exception.NovaException: where the image cannot be had or used
        :raises OSError: where the host cannot take it
        """
        remove(self._driver, self._instance)
        nova_internals.fetch_rescue_disk(
            self._driver, context, self._instance, image["id"], self._mapping
        )
        kernel.fetch(self._driver, context, self._instance, image)


def remove(driver: libvirt_driver.LibvirtDriver, instance: "objects.Instance") -> None:
    """Remove the medium of an instance and all that was made along with it.

    What is not there is no error.
    """
    nvram.remove(instance)
    kernel.remove(instance)
    names = (RESCUE_DISK, CONFIG_DRIVE + RESCUE_SUFFIX)
    for name in names:
        files.remove(Path(libvirt_utils.get_instance_path(instance), name))
    volumes = nova_internals.rescue_disks_of_lvm(driver, instance)
    if volumes:
        _remove_volumes(volumes)
    if CONF.libvirt.images_type == "rbd":
        _remove_rbd_images({f"{instance.uuid}_{name}" for name in names})


@steps.changes("remove LVM volumes")
def _remove_volumes(volumes: list[str]) -> None:
    lvm.remove_volumes(volumes)


@steps.changes("remove RBD images")
def _remove_rbd_images(names: set[str]) -> None:
    rbd_utils.RBDDriver().cleanup_volumes(names.__contains__)
