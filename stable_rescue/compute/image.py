# SPDX-License-Identifier: Apache-2.0
"""Which image a server is rescued with."""

from nova import conf as nova_conf
from nova import objects
from oslo_log import log as logging

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)


def choose(instance: "objects.Instance", asked_for: str | None) -> str:
    """Return the id of the image to rescue with; empty: there is none.

    In this order: the one that the user names; the operator's ``[libvirt]
    rescue_image_id``, which Nova never comes to, because a server nearly always has
    a base image (UPSTREAM U26); the image that the server's was made from; its own.
    """
    for image_ref, why in (
        (asked_for, "the user names it"),
        (CONF.libvirt.rescue_image_id, "it is [libvirt] rescue_image_id"),
        (
            instance.system_metadata.get("image_base_image_ref"),
            "it is the server's base image",
        ),
        (instance.image_ref, "it is the server's own image"),
    ):
        if image_ref:
            LOG.info("Rescue by image %s: %s", image_ref, why, instance=instance)
            return str(image_ref)
    return ""
