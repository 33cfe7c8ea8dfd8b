# SPDX-License-Identifier: Apache-2.0
"""What Nova's database says about an instance's rescue."""

from typing import Any

from nova import conf as nova_conf
from nova import objects
from nova.compute import task_states, vm_states

from stable_rescue import steps

CONF = nova_conf.CONF

#: The vm_state and the task_state of an instance.
States = tuple[str, str | None]

#: The task states of an interrupted rescue or unrescue.
INTERRUPTED = (task_states.RESCUING, task_states.UNRESCUING)

#: The key in system_metadata of an instance that nova-compute, not an operator, has set
#: to ERROR because its rescue could not be recovered. Nova saves both at once.
FAILED = "stable_rescue_failed"
#: The value of that key, by whether the guest ran before the rescue. "True" is what it
#: was before nova-compute noted that.
_WAS_RUNNING = {True: "running", False: "stopped", None: "True"}

#: What recovery needs of an instance; Nova loads the same for a host's instances.
EXPECTED_ATTRS = [
    "info_cache",
    "metadata",
    "system_metadata",
    "numa_topology",
    "flavor",
]

_SAVE_INSTANCE = steps.changes("save the instance")


def is_failed(instance: "objects.Instance") -> bool:
    """Return True if nova-compute has set an instance to ERROR because of its rescue.

    If an operator has set the instance to ERROR, to evacuate or rebuild it, recovery
    must not change that.
    """
    return instance.vm_state == vm_states.ERROR and FAILED in instance.system_metadata


def mark_failed(instance: "objects.Instance", was_running: bool | None) -> None:
    """Note that nova-compute, not an operator, sets an instance to ERROR.

    :param was_running: True if the guest ran before the rescue; None if that is unknown
    """
    instance.system_metadata[FAILED] = _WAS_RUNNING[was_running]


def was_running(instance: "objects.Instance") -> bool | None:
    """Return True if the guest of a failed instance ran before; None if unknown."""
    noted = instance.system_metadata.get(FAILED)
    return {text: ran for ran, text in _WAS_RUNNING.items()}.get(noted)


def may_be_queued(instance: "objects.Instance", known: Any) -> bool:
    """Return True if nothing was done yet for the task that an instance is in.

    The request may have been made while nova-compute was down. The task is canceled
    only after it has stalled, if stalled tasks are looked for at all.
    """
    if not CONF.stable_rescue.stalled_after:
        return False
    if instance.task_state == task_states.RESCUING:
        return instance.vm_state != vm_states.RESCUED and not known.is_begun
    return instance.task_state == task_states.UNRESCUING and not known.is_ending


def states_of(instance: "objects.Instance") -> States:
    """Return the states that an instance has in this process."""
    return instance.vm_state, instance.task_state


def save(instance: "objects.Instance") -> None:
    """Save an instance, whatever states Nova's database has."""
    with _SAVE_INSTANCE:
        instance.save()


def save_over(states: States, instance: "objects.Instance") -> None:
    """Save an instance if Nova's database still has the states that were read earlier.

    The API takes no lock when it changes them, for example to reset the state of an
    instance or to delete it.

    :raises nova.exception.InstanceUpdateConflict: if the database has other states
    """
    vm_state, task_state = states
    with _SAVE_INSTANCE:
        instance.save(expected_vm_state=[vm_state], expected_task_state=[task_state])
