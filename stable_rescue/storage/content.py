# SPDX-License-Identifier: Apache-2.0
"""What a rescue image really contains, checked before it is fetched.

Nova inspects an image after fetching it and sets no limit to the virtual size; an
operator may turn the inspection off. The beginning of an image is enough to know its
format: it is read from Glance and passed to Nova's inspection, so that a malicious
image never gets into the host's image cache.
"""

import tempfile
from dataclasses import dataclass
from typing import IO, Any

from nova import conf as nova_conf
from nova import context as nova_context
from nova.virt import images
from oslo_utils import units

CONF = nova_conf.CONF

# As far as oslo.utils reads: the region table of a VHDX (format_inspector.py).
_HEAD_BYTES = 4 * units.Mi

# The end of a boot sector; a hybrid ISO image has one in its first sector.
_BOOT_SIGNATURE = b"\x55\xaa"
_SECTOR_BYTES = 512


@dataclass(frozen=True)
class Content:
    """The virtual size of an image in bytes, and whether it has a boot sector."""

    virtual_size: int
    has_boot_sector: bool


def read(
    image_api: Any, context: nova_context.RequestContext, image: dict[str, Any]
) -> Content | None:
    """Inspect an image in Glance and return what it contains.

    Return None if signatures are verified: Nova does that when it fetches the image,
    because it needs the whole image. Nova's inspection is skipped if the operator
    turned it off with ``[workarounds] disable_deep_image_inspection``. Errors of Glance
    propagate.

    :param image_api: Nova's image API
    :param image: the image as Nova's image API returns it
    :raises nova.exception.ImageUnacceptable: if the content does not have the image's
        disk format, or refers to other files
    """
    if CONF.glance.verify_glance_signatures:
        return None
    with tempfile.TemporaryFile() as head:
        _read_head(image_api, context, image["id"], head)
        head.flush()
        # Nova needs a path. The file has no name, so that a kill leaves nothing.
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
    # Without a destination, Nova's image API returns an iterator of chunks.
    for chunk in image_api.download(context, image_id) or ():
        head.write(chunk[: _HEAD_BYTES - head.tell()])
        if head.tell() >= _HEAD_BYTES:
            return  # This closes the connection to Glance.


def _virtual_size(image: dict[str, Any], head: str) -> int:
    if image.get("disk_format") == "qcow2":
        return int(images.get_image_format(head).virtual_size)
    return int(image.get("size") or 0)
