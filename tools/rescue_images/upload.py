# SPDX-License-Identifier: Apache-2.0
"""Create a built image in Glance with the properties that a rescue needs."""

import json
from pathlib import Path

from rescue_images import MIN_RAM, ImageError
from rescue_images.commands import output_of

_PROPERTIES = {
    "qcow2": {"hw_rescue_device": "disk", "hw_rescue_bus": "usb"},
    # The bus is chosen by the machine of the server: sata with q35, ide with pc.
    "iso": {"hw_rescue_device": "cdrom"},
}
_COMMON = {"os_type": "linux", "os_distro": "debian", "hw_architecture": "x86_64"}


def command(path: Path, image_format: str, name: str, openstack: str) -> list[str]:
    """Return the command that creates an image."""
    properties = _PROPERTIES[image_format] | _COMMON
    return [
        openstack,
        "image",
        "create",
        "--file",
        str(path),
        "--disk-format",
        image_format,
        "--container-format",
        "bare",
        "--min-ram",
        str(MIN_RAM),
        *(f"--property={key}={value}" for key, value in properties.items()),
        "--format=json",
        name,
    ]


def upload(
    path: Path, image_format: str, name: str, openstack: str = "openstack"
) -> str:
    """Create an image in Glance; return its ID and properties, a line each.

    :param openstack: the command of python-openstackclient
    :raises ImageError: if the command is missing or fails, with what it printed
    """
    if not path.exists():
        raise ImageError(f"{path} is missing: run tools/rescue-image build first")
    text = output_of(*command(path, image_format, name, openstack))
    try:
        image = json.loads(text)
    except ValueError as error:
        raise ImageError(f"{openstack} printed no JSON: {text}") from error
    properties = image.get("properties") or {}
    wanted = (*_PROPERTIES[image_format], *_COMMON)
    rows = {key: properties.get(key, image.get(key)) for key in wanted}
    lines = [f"image {image['id']} ({name}) is {image.get('status')}"]
    lines += [f"  {key}={value}" for key, value in rows.items()]
    lines.append(f"  openstack server rescue --image {name} --password PASSWORD SERVER")
    return "\n".join(lines)
