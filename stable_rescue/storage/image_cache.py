# SPDX-License-Identifier: Apache-2.0
"""The rescues that Nova's image cache has to consider.

Nova removes a base image from the cache if no instance was made from it, even while
a rescue disk is backed by it (U23).
"""

from collections.abc import Collection

from nova import objects

from stable_rescue.storage import store


def with_rescues(
    instances: Collection["objects.Instance"],
) -> list["objects.Instance"]:
    """Return the instances, and a stand-in for each of their rescues.

    A stand-in is a copy of the instance that names the rescue image as its own, and is
    never saved. An instance whose record is damaged gets no stand-in.
    """
    all_instances = list(instances)
    for instance in instances:
        record = store.load(instance)
        if record is not None:
            stand_in = instance.obj_clone()
            stand_in.image_ref = record.image_id
            all_instances.append(stand_in)
    return all_instances
