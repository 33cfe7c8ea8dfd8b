# SPDX-License-Identifier: Apache-2.0
"""Checks of a rescue image against the server that it has to boot (U12).

The checks need the image's properties and the beginning of its content. An unsuitable
image is refused before it is fetched.
"""

from typing import Any

from nova import conf as nova_conf
from nova import context as nova_context
from nova import objects
from nova.objects import block_device
from oslo_utils import units

from stable_rescue import exception
from stable_rescue.domain import machine
from stable_rescue.domain.document import Domain
from stable_rescue.image_meta import RescueImageMetaProps
from stable_rescue.storage.content import Content

CONF = nova_conf.CONF

# Nova's image backends safely make a disk of these only. An ami is a raw filesystem
# that is booted with the image's kernel_id.
_DISK_FORMATS = ("raw", "qcow2", "iso", "ami")
# Nova would write these to the disk as they are: archives, a kernel, a ramdisk.
_PACKED = ("ovf", "ova", "docker", "compressed", "aki", "ari")
_VOLUME_SNAPSHOTS = ("block_device_mapping", "img_block_device_mapping")
# The largest floppy that QEMU supports (hw/block/fdc.c, fd_formats).
_FLOPPY_BYTES = 2880 * units.Ki


def check(
    instance: "objects.Instance",
    image: dict[str, Any],
    device: str,
    original: Domain,
    root_gb: int,
) -> None:
    """Check an image by its properties in Glance.

    :param image: the image as Nova's image API returns it
    :param original: the server's original definition
    :param root_gb: the size of the server's root disk in GiB; 0 if it has no limit
    :raises Refused: if the image is unsuitable, with the first reason
    """
    _check_usable(image)
    _check_formats(image, device)
    _check_needs(image, instance.flavor.memory_mb, root_gb)
    check_size(image, device, _size_of(image))
    _check_machine(RescueImageMetaProps.from_image(image), original)


def root_gb(context: nova_context.RequestContext, instance: "objects.Instance") -> int:
    """Return the size of a server's root disk in GiB; 0 if the flavor sets no limit.

    For a volume-backed server, this is the size of the root volume.
    """
    root = _root_of(context, instance)
    if root.is_volume:
        return int(root.volume_size or 0)
    return int(instance.flavor.root_gb)


def check_stock(
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    image: dict[str, Any],
) -> None:
    """Check what would certainly make a stock rescue fail or useless (U12, U30).

    Formats, minimums, firmware and machine type are not checked, because a stock rescue
    accepts more of them, and takes the last two from the image. Nova builds the domain
    without the root disk's encryption.

    :param image: the image as Nova's image API returns it
    :raises Refused: if the image has no data or is too large, or if the guest would see
        ciphertext
    """
    _check_usable(image)
    check_size(image, "disk", _size_of(image))
    root = _root_of(context, instance)
    if root.encrypted and not root.is_volume:
        raise exception.Refused(
            "the server's root disk is encrypted by Nova, and a stock rescue would "
            "show it as ciphertext; use a rescue image with hw_rescue_device or "
            "hw_rescue_bus"
        )


def check_size(image: dict[str, Any], device: str, size: int) -> None:
    """Check the virtual size of an image.

    :param size: in bytes, from Glance or from the content
    :raises Refused: if the image is too large
    """
    limit = CONF.stable_rescue.max_medium_size
    if limit and size > limit * units.Gi:
        raise exception.Refused(
            f"{_name(image)} has a virtual size of {-(-size // units.Gi)} GiB; at "
            f"most {limit} GiB are allowed"
        )
    if device == "floppy" and size > _FLOPPY_BYTES:
        raise exception.Refused(
            f"{_name(image)} has {size} bytes; a floppy holds at most {_FLOPPY_BYTES}"
        )


def check_content(
    image: dict[str, Any], device: str, content: Content, seen_as: str
) -> None:
    """Check an image by its content.

    :param device: the rescue device that was asked for
    :param seen_as: the device that the guest sees
    :raises Refused: if the image is unsuitable
    """
    check_size(image, device, content.virtual_size)
    if (
        seen_as == "disk"
        and image.get("disk_format") == "iso"
        and not content.has_boot_sector
    ):
        raise exception.Refused(
            f"{_name(image)} is an ISO image that boots only as a cdrom; "
            + (
                "set hw_rescue_device=cdrom on it"
                if device == "disk"
                else "on this host, guests see a cdrom on usb as a disk; set another "
                "hw_rescue_bus on it"
            )
        )


def findings(
    instance: "objects.Instance", image: dict[str, Any], device: str
) -> tuple[str, ...]:
    """Return what to know about a rescue with a suitable image."""
    notes = []
    if image["id"] in _images_of(instance):
        notes.append(
            "the rescue image is the one that the server was made from: filesystems "
            "and volume groups exist twice with the same UUID and name, and the guest "
            "may mount the wrong one"
        )
    if device == "cdrom" and image.get("disk_format") != "iso":
        notes.append(
            f"the rescue image is {image.get('disk_format')}, not iso: firmware boots "
            "a cdrom only if it has an ISO 9660 filesystem"
        )
    return tuple(notes)


def _root_of(
    context: nova_context.RequestContext, instance: "objects.Instance"
) -> block_device.BlockDeviceMapping:
    return block_device.BlockDeviceMappingList.get_by_instance_uuid(
        context, instance.uuid
    ).root_bdm()


def _images_of(instance: "objects.Instance") -> set[str]:
    base = instance.system_metadata.get("image_base_image_ref")
    return {ref for ref in (instance.image_ref, base) if ref}


def _check_usable(image: dict[str, Any]) -> None:
    status = image.get("status")
    if status != "active":
        raise exception.Refused(f"{_name(image)} is {status}, not active")
    properties = image.get("properties") or {}
    # Nova's API has the same check, but only for an image that the user names.
    if any(properties.get(key) for key in _VOLUME_SNAPSHOTS):
        raise exception.Refused(
            f"{_name(image)} refers to volume snapshots and contains no data; "
            "use another image"
        )


def _check_formats(image: dict[str, Any], device: str) -> None:
    container, disk = image.get("container_format"), image.get("disk_format")
    if container in _PACKED:
        raise exception.Refused(
            f"{_name(image)} has container format {container}; use one with container "
            "format bare"
        )
    if disk not in _DISK_FORMATS:
        raise exception.Refused(
            f"{_name(image)} has disk format {disk}; allowed are "
            f"{', '.join(_DISK_FORMATS)}"
        )
    if disk == "iso" and device == "floppy":
        raise exception.Refused(f"{_name(image)} is an ISO image, not a floppy image")


def _check_needs(image: dict[str, Any], memory_mb: int, root_gb: int) -> None:
    """Check the minimums like Nova does for a new server (nova/compute/api.py)."""
    memory, disk = int(image.get("min_ram") or 0), int(image.get("min_disk") or 0)
    if memory > memory_mb:
        raise exception.Refused(
            f"{_name(image)} needs {memory} MiB of memory; the server has {memory_mb}"
        )
    if root_gb and disk > root_gb:
        raise exception.Refused(
            f"{_name(image)} needs a root disk of {disk} GiB; the server's is {root_gb}"
        )


def _size_of(image: dict[str, Any]) -> int:
    """Return the virtual size according to Glance, or 0 if it is unknown.

    Nova's image API does not return Glance's virtual_size.
    """
    return 0 if image.get("disk_format") == "qcow2" else int(image.get("size") or 0)


def _check_machine(props: RescueImageMetaProps, domain: Domain) -> None:
    """Check the machine type, architecture and firmware that an image requires."""
    wanted = props.get("hw_architecture")
    arch = machine.architecture_of(domain)
    # An x86_64 server can boot a 32-bit system.
    if wanted and wanted != arch and (wanted, arch) != ("i686", "x86_64"):
        raise exception.Refused(
            f"the rescue image is for {wanted}, but the server is {arch}"
        )
    family = machine.family_of(domain)
    named = machine.family_named(props.get("hw_machine_type") or "")
    if named not in (None, family):
        raise exception.Refused(
            f"the rescue image is for machine type {props.hw_machine_type}, but the "
            f"server has {family.value}"
        )
    firmware = "uefi" if machine.is_uefi(domain) else "bios"
    if props.get("hw_firmware_type", firmware) != firmware:
        raise exception.Refused(
            f"the rescue image boots only with {props.hw_firmware_type.upper()}, but "
            f"the server has {firmware.upper()}"
        )
    if props.get("os_secure_boot") == "required" and not machine.is_secure(domain):
        raise exception.Refused(
            "the rescue image requires secure boot, but the server does not have it"
        )


def _name(image: dict[str, Any]) -> str:
    return f"rescue image {image['id']}"
