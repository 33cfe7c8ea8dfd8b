# SPDX-License-Identifier: Apache-2.0
"""What Glance tells of a rescue image, against the server that it is to boot.

Nothing is fetched: an image that cannot do is refused by what is known of it.
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

# Nova's image backends make a disk of these alone safely; ami is a raw filesystem
# that boots by a kernel_id of its own.
_DISK_FORMATS = ("raw", "qcow2", "iso", "ami")
# What Nova would put on the disk as it is, the disk image still packed in it.
_PACKED = ("ovf", "ova", "docker", "compressed", "aki", "ari")
_VOLUME_SNAPSHOTS = ("block_device_mapping", "img_block_device_mapping")
# The largest floppy that QEMU has a drive for (hw/block/fdc.c, fd_formats).
_FLOPPY_BYTES = 2880 * units.Ki


def check(
    instance: "objects.Instance",
    image: dict[str, Any],
    device: str,
    original: Domain,
    root_gb: int,
) -> None:
    """Check what Glance tells of an image (UPSTREAM U12).

    :param image: the image as Nova's image API gives it
    :param root_gb: the size of the server's root disk in GiB; 0: not limited
    :raises Refused: with the first reason why it cannot do
    """
    _check_usable(image)
    _check_formats(image, device)
    _check_needs(image, instance.flavor.memory_mb, root_gb)
    check_size(image, device, _size_of(image))
    _check_machine(RescueImageMetaProps.from_image(image), original)


def root_gb(context: nova_context.RequestContext, instance: "objects.Instance") -> int:
    """Return the size of a server's root disk in GiB; 0: its flavor does not limit it.

    A volume-backed server has its root volume's, whatever its flavor says.
    """
    root = _root_of(context, instance)
    if root.is_volume:
        return int(root.volume_size or 0)
    return int(instance.flavor.root_gb)


def check_legacy(
    context: nova_context.RequestContext, instance: "objects.Instance"
) -> None:
    """Check that Nova's own rescue would show the server's root disk (UPSTREAM U30).

    It builds the domain without the disk's encryption: the guest sees ciphertext.

    :raises Refused: where it would not
    """
    root = _root_of(context, instance)
    if root.encrypted and not root.is_volume:
        raise exception.Refused(
            "the server's root disk is encrypted by Nova, and this kind of rescue "
            "would show it as ciphertext; a rescue image with hw_rescue_device or "
            "hw_rescue_bus shows it as it is"
        )


def check_size(image: dict[str, Any], device: str, size: int) -> None:
    """Check a virtual size, in bytes, that Glance or the image itself tells.

    :raises Refused: where it is too large
    """
    limit = CONF.stable_rescue.max_medium_size
    if limit and size > limit * units.Gi:
        raise exception.Refused(
            f"{_name(image)} has a virtual size of {-(-size // units.Gi)} GiB; at "
            f"most {limit} GiB are possible"
        )
    if device == "floppy" and size > _FLOPPY_BYTES:
        raise exception.Refused(
            f"{_name(image)} has {size} bytes; a floppy holds at most {_FLOPPY_BYTES}"
        )


def check_content(
    image: dict[str, Any], device: str, content: Content, seen_as: str
) -> None:
    """Check what an image really holds.

    :param seen_as: the device that the guest will take it for
    :raises Refused: where it cannot do
    """
    check_size(image, device, content.virtual_size)
    if (
        seen_as == "disk"
        and image.get("disk_format") == "iso"
        and not content.has_boot_sector
    ):
        raise exception.Refused(
            f"{_name(image)} is an ISO image that boots as a cdrom alone; "
            + (
                "set hw_rescue_device=cdrom on it"
                if device == "disk"
                else "guests on this host take one on usb for a disk: set another bus"
            )
        )


def findings(
    instance: "objects.Instance", image: dict[str, Any], device: str
) -> tuple[str, ...]:
    """Return what to know of a rescue by an image that can do."""
    found = []
    if image["id"] in _own_images(instance):
        found.append(
            "the rescue image is the one that the server was made from: filesystems "
            "and volume groups of the same UUID and name are there twice, and the "
            "guest may mount the wrong one"
        )
    if device == "cdrom" and image.get("disk_format") != "iso":
        found.append(
            f"the rescue image is {image.get('disk_format')}, not iso: firmware boots "
            "a cdrom only where there is an ISO 9660 filesystem on it"
        )
    return tuple(found)


def _root_of(
    context: nova_context.RequestContext, instance: "objects.Instance"
) -> block_device.BlockDeviceMapping:
    return block_device.BlockDeviceMappingList.get_by_instance_uuid(
        context, instance.uuid
    ).root_bdm()


def _own_images(instance: "objects.Instance") -> set[str]:
    base = instance.system_metadata.get("image_base_image_ref")
    return {ref for ref in (instance.image_ref, base) if ref}


def _check_usable(image: dict[str, Any]) -> None:
    status = image.get("status")
    if status != "active":
        raise exception.Refused(f"{_name(image)} is {status}, not active")
    properties = image.get("properties") or {}
    # Nova's API refuses it too, but only where the user names the image.
    if any(properties.get(key) for key in _VOLUME_SNAPSHOTS):
        raise exception.Refused(
            f"{_name(image)} stands for volume snapshots and has no data of its own"
        )


def _check_formats(image: dict[str, Any], device: str) -> None:
    container, disk = image.get("container_format"), image.get("disk_format")
    if container in _PACKED:
        raise exception.Refused(
            f"{_name(image)} has container format {container}; a rescue image needs "
            "bare"
        )
    if disk not in _DISK_FORMATS:
        raise exception.Refused(
            f"{_name(image)} has disk format {disk}; a rescue is possible from "
            f"{', '.join(_DISK_FORMATS)}"
        )
    if disk == "iso" and device == "floppy":
        raise exception.Refused(f"{_name(image)} is an ISO image, not that of a floppy")


def _check_needs(image: dict[str, Any], memory_mb: int, root_gb: int) -> None:
    """As Nova checks them when it makes a server (nova/compute/api.py)."""
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
    """Return the virtual size as far as Nova lets Glance tell it, else 0.

    (Its image API leaves Glance's virtual_size out.)
    """
    return 0 if image.get("disk_format") == "qcow2" else int(image.get("size") or 0)


def _check_machine(props: RescueImageMetaProps, domain: Domain) -> None:
    """Check the machine that an image asks for; what it leaves open is fine."""
    wanted = props.get("hw_architecture")
    arch = machine.architecture_of(domain)
    # A 64 bit x86 runs systems of 32 bits.
    if wanted and wanted != arch and (wanted, arch) != ("i686", "x86_64"):
        raise exception.Refused(
            f"the rescue image is for {wanted}, the server is {arch}"
        )
    family = machine.family_of(domain)
    named = machine.family_named(props.get("hw_machine_type") or "")
    if named not in (None, family):
        raise exception.Refused(
            f"the rescue image is for machine type {props.hw_machine_type}, the server "
            f"is of type {family.value}"
        )
    firmware = "uefi" if machine.is_uefi(domain) else "bios"
    if props.get("hw_firmware_type", firmware) != firmware:
        raise exception.Refused(
            f"the rescue image boots by {props.hw_firmware_type.upper()} alone, the "
            f"server has {firmware.upper()}"
        )
    if props.get("os_secure_boot") == "required" and not machine.is_secure(domain):
        raise exception.Refused(
            "the rescue image requires secure boot, which the server does not have"
        )


def _name(image: dict[str, Any]) -> str:
    return f"rescue image {image['id']}"
