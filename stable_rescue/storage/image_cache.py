# SPDX-License-Identifier: Apache-2.0
"""What Nova's image cache has to know of rescues.

It takes a base image that no instance was made from for unused and removes it, be it
ever so old a rescue disk's backing file (UPSTREAM U23).
"""

from collections.abc import Collection

from nova import objects
from nova.virt.libvirt import utils as libvirt_utils
from oslo_log import log as logging

from stable_rescue import exception
from stable_rescue.storage.record import Store

LOG = logging.getLogger(__name__)


def with_rescues(
    instances: Collection["objects.Instance"],
) -> list["objects.Instance"]:
    """Return the instances, and a stand-in for each rescue that is under way.

    A stand-in is the instance as if it were made from its rescue image; it is never
    saved. One damaged record concerns its own instance alone.
    """
    found = list(instances)
    for instance in instances:
        image_id = _rescue_image_of(instance)
        if image_id is not None:
            stand_in = instance.obj_clone()
            stand_in.image_ref = image_id
            found.append(stand_in)
    return found


def _rescue_image_of(instance: "objects.Instance") -> str | None:
    try:
        record = Store(libvirt_utils.get_instance_path(instance)).load()
    except exception.InvalidRecord as exc:
        LOG.warning(
            "The image of a rescue is not kept in the image cache: %s",
            exc,
            instance=instance,
        )
        return None
    return None if record is None else record.image_id
