# SPDX-License-Identifier: Apache-2.0
"""What Nova's image cache has to know of rescues.

It takes a base image that no instance was made from for unused and removes it, be it
ever so old a rescue disk's backing file (UPSTREAM U23).
"""

from collections.abc import Collection

from nova import objects

from stable_rescue.storage import records


def with_rescues(
    instances: Collection["objects.Instance"],
) -> list["objects.Instance"]:
    """Return the instances, and a stand-in for each rescue that is under way.

    A stand-in is the instance as if it were made from its rescue image; it is never
    saved. One damaged record concerns its own instance alone.
    """
    found = list(instances)
    for instance in instances:
        record = records.load(instance)
        if record is not None:
            stand_in = instance.obj_clone()
            stand_in.image_ref = record.image_id
            found.append(stand_in)
    return found
