# SPDX-License-Identifier: Apache-2.0
"""Which image a server is rescued with."""

from nova import conf as nova_conf
from nova import objects
from oslo_log import log as logging

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)


def choose(instance: "objects.Instance", requested: str | None) -> str | None:
    """Return the ID of the image to rescue with, or None if there is none.

    In this order: the image that the user names; the operator's ``[libvirt]
    rescue_image_id``, which Nova never reaches because a server nearly always has a
    base image (U26); the server's base image; the server's own image.
    """
    base_image = instance.system_metadata.get("image_base_image_ref")
    for image_ref, reason in (
        (requested, "the user has named it"),
        (CONF.libvirt.rescue_image_id, "it is [libvirt] rescue_image_id"),
        (base_image, "it is the server's base image"),
        (instance.image_ref, "it is the server's own image"),
    ):
        if image_ref:
            LOG.info("Rescue image %s: %s", image_ref, reason, instance=instance)
            return str(image_ref)
    return None
