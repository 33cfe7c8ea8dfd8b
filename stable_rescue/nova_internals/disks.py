# SPDX-License-Identifier: Apache-2.0
"""The rescue disk and the config drive, made by the configured image backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stable_rescue import steps
from stable_rescue.domain.recognize import CONFIG_DRIVE, RESCUE_DISK, RESCUE_SUFFIX

if TYPE_CHECKING:
    from nova import context as nova_context
    from nova import objects
    from nova.virt.libvirt import driver as libvirt_driver


def image_api_of(driver: libvirt_driver.LibvirtDriver) -> Any:
    """Return the driver's nova.image.glance.API."""
    return driver._image_api


@steps.changes("fetch the rescue disk")
def fetch_rescue_disk(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: objects.Instance,
    image_id: str,
    mapping: dict[str, str],
) -> None:
    """Make the rescue disk from its image.

    :param mapping: the disk's bus, dev and type, as in Nova's disk_info
    :raises nova.exception.NovaException: if the image cannot be fetched or used
    """
    driver._create_and_inject_local_root(
        context,
        instance,
        {RESCUE_DISK: mapping},
        booted_from_volume=False,
        suffix=RESCUE_SUFFIX,
        disk_images={"image_id": image_id},
        injection_info=None,
        fallback_from_host=None,
    )


@steps.changes("make the config drive")
def make_config_drive(
    driver: libvirt_driver.LibvirtDriver,
    context: nova_context.RequestContext,
    instance: objects.Instance,
    admin_password: str,
) -> None:
    """Make the rescue's config drive; Nova keeps an existing one unchanged.

    Errors of Nova's image backends propagate.
    """
    from nova.virt.libvirt.driver import InjectionInfo

    injection_info = InjectionInfo(
        network_info=instance.get_network_info(), files=None, admin_pass=admin_password
    )
    driver._create_configdrive(context, instance, injection_info, rescue=True)


def rescue_disk_xml(
    driver: libvirt_driver.LibvirtDriver,
    instance: objects.Instance,
    mapping: dict[str, str],
) -> str:
    """Return the <disk> element that Nova writes for the rescue disk.

    The element has the host's discard and I/O settings, the flavor's quotas, and the
    host's cache mode, which stock rescue does not set (U27).
    """
    return _local_disk_xml(driver, instance, RESCUE_DISK, mapping)


def config_drive_xml(
    driver: libvirt_driver.LibvirtDriver,
    instance: objects.Instance,
    mapping: dict[str, str],
) -> str:
    """Return the <disk> element that Nova would write for the rescue's config drive.

    :param mapping: the drive's bus, dev and type, as in Nova's disk_info
    """
    name = CONFIG_DRIVE + RESCUE_SUFFIX
    image_type = driver._get_disk_config_image_type()
    return _local_disk_xml(driver, instance, name, mapping, image_type)


def _local_disk_xml(
    driver: libvirt_driver.LibvirtDriver,
    instance: objects.Instance,
    name: str,
    mapping: dict[str, str],
    image_type: str | None = None,
) -> str:
    config = driver._get_guest_disk_config(
        instance, name, {name: mapping}, instance.flavor, image_type
    )
    driver._set_cache_mode(config)
    return text_of(config)


def text_of(config: Any) -> str:
    """Return one of Nova's configuration objects as XML."""
    xml = config.to_xml()
    return xml.decode() if isinstance(xml, bytes) else xml


def rescue_disks_of_lvm(
    driver: libvirt_driver.LibvirtDriver, instance: objects.Instance
) -> list[str]:
    """Return the LVM volumes of an instance's rescue; [] unless Nova stores on LVM."""
    volumes = driver._lvm_disks(instance) or []
    return [volume for volume in volumes if volume.endswith(RESCUE_SUFFIX)]
