# SPDX-License-Identifier: Apache-2.0
"""What Nova's API checks of a rescue before nova-compute learns of it.

A plan has no API request, so it makes the same checks (nova/compute/api.py: rescue).
The reasons are the API's.
"""

from collections.abc import Collection

from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from nova.compute import instance_actions, vm_states
from nova.compute import utils as compute_utils
from nova.virt import hardware

from stable_rescue import exception, properties

_STATES = (vm_states.ACTIVE, vm_states.STOPPED, vm_states.ERROR)


def check_state(instance: "objects.Instance") -> None:
    """Check that the API accepts a rescue of an instance in its state.

    :raises Refused: if the API would answer 409
    """
    for attribute, allowed in (("vm_state", _STATES), ("task_state", (None,))):
        state = getattr(instance, attribute)
        if state not in allowed:
            raise exception.Refused(
                f"Cannot 'rescue' instance {instance.uuid} while it is in {attribute} "
                f"{state}"
            )


def check_devices(
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    given: Collection[str],
) -> None:
    """Check that the API accepts a rescue of an instance with its devices.

    :param given: the names of the properties of the rescue image
    :raises Refused: if the API would answer 400 or 409
    """
    if hardware.get_vtpm_constraint(instance.flavor, instance.image_meta):
        refusal = nova_exception.OperationNotSupportedForVTPM(
            instance_uuid=instance.uuid, operation=instance_actions.RESCUE
        )
        raise exception.Refused(refusal.format_message())
    is_ready = all(name in given for name in properties.CHOOSING)
    if compute_utils.is_volume_backed_instance(context, instance) and not is_ready:
        raise exception.Refused(
            "Cannot rescue a volume-backed instance; the rescue image needs "
            f"{' and '.join(properties.CHOOSING)}"
        )


def findings(instance: "objects.Instance") -> tuple[str, ...]:
    """Return what an operator has to know about a request for a rescue."""
    if instance.locked:
        return (
            "the server is locked: the API accepts the rescue from administrators only",
        )
    return ()
