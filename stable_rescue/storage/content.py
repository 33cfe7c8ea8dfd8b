# SPDX-License-Identifier: Apache-2.0
"""What a rescue image really holds, looked at before it is fetched.

Nova inspects an image after it has fetched it, does not know a limit to its virtual
size, and an operator may turn the inspection off. All that tells what an image is
stands at its beginning: that much is read from Glance and judged by Nova's own
inspection, so that a hostile image never comes to the host's image cache.
"""

import tempfile
from dataclasses import dataclass
from typing import IO, Any

from nova import conf as nova_conf
from nova import context as nova_context
from nova.virt import images
from oslo_utils import units

CONF = nova_conf.CONF

# Where oslo.utils looks at most: the region table of a VHDX (format_inspector.py).
_HEAD_BYTES = 4 * units.Mi

# A boot sector ends with it; a hybrid ISO image has one in its first sector.
_BOOT_SIGNATURE = b"\x55\xaa"
_SECTOR_BYTES = 512


@dataclass(frozen=True)
class Content:
    """What an image holds: its virtual size in bytes; whether it has a boot sector."""

    virtual_size: int
    has_boot_sector: bool


def look_at(
    image_api: Any, context: nova_context.RequestContext, image: dict[str, Any]
) -> Content | None:
    """Return what an image of Glance holds.

    None where signatures are verified: that takes an image to its end, and Nova does
    it when it fetches. Nova's inspection is not asked where the operator has turned
    it off (``[workarounds] disable_deep_image_inspection``).

    :param image_api: Nova's image API
    :param image: the image as it gives it
    :raises nova.exception.ImageUnacceptable: where it is not what Glance calls it,
        or names other files
    :raises Exception: where Glance does not give it
    """
    if CONF.glance.verify_glance_signatures:
        return None
    with tempfile.TemporaryFile() as head:
        _read_head(image_api, context, image["id"], head)
        head.flush()
        # Nova asks for a path; a file without a name cannot be left behind.
        path = f"/proc/self/fd/{head.fileno()}"
        if not CONF.workarounds.disable_deep_image_inspection:
            images.do_image_deep_inspection(image, image["id"], path)
        head.seek(0)
        sector = head.read(_SECTOR_BYTES)
        return Content(_virtual_size(image, path), sector.endswith(_BOOT_SIGNATURE))


def _read_head(
    image_api: Any,
    context: nova_context.RequestContext,
    image_id: str,
    head: IO[bytes],
) -> None:
    # Without a destination Nova's API hands the stream over.
    for chunk in image_api.download(context, image_id) or ():
        head.write(chunk[: _HEAD_BYTES - head.tell()])
        if head.tell() >= _HEAD_BYTES:
            return  # the stream goes, and its connection with it


def _virtual_size(image: dict[str, Any], head: str) -> int:
    if image.get("disk_format") == "qcow2":
        return int(images.get_image_format(head).virtual_size)
    return int(image.get("size") or 0)
