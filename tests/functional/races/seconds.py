# SPDX-License-Identifier: Apache-2.0
"""The operations that begin while another one is at a point.

Each returns False if the API refuses it.
"""

from collections.abc import Callable
from concurrent import futures
from typing import Any

from nova.compute import vm_states
from nova.virt import event

from tests.functional.faults.base import ATTRIBUTES
from tests.functional.model.world import LONG
from tests.functional.races.turns import TIMEOUT
from tests.functional.volumes import VOLUMES

#: The host of a server that was evacuated.
ELSEWHERE = "elsewhere"
#: The operation for which the first one is killed.
RESTART = "service restart"

Second = Callable[[Any], bool]


def _request(name: str, *args: Any) -> Second:
    """Return an operation that is a request to the API."""
    return lambda host: host.ask(getattr(host.compute_api, name), *args)


def rescue(host: Any) -> bool:
    """Rescue the server."""
    return host.ask(host.compute_api.rescue, None, host.images["rescue"])


def _detach_volume(host: Any) -> bool:
    volume = host.manager.volume_api.get(host.context, VOLUMES[0])
    return host.ask(host.compute_api.detach_volume, volume)


def _attach_port(host: Any) -> bool:
    return host.ask(host.compute_api.attach_interface, None, host.port["id"], None)


def _detach_port(host: Any) -> bool:
    port = host.neutron.port_1["id"]
    return host.ask(host.compute_api.detach_interface, port)


def _reset_to_error(host: Any) -> bool:
    """Set the server to ERROR, as the API does for an operator."""
    return host.ask(host.requests["reset to error"])


def _evacuate(host: Any) -> bool:
    """Let the server run on another host, as after an evacuation."""
    instance = host.find(ATTRIBUTES)
    if instance.vm_state == vm_states.RESCUED:
        return False
    instance.host = ELSEWHERE
    instance.vm_state, instance.task_state = vm_states.ACTIVE, None
    instance.save(admin_state_reset=True)
    return True


def _sync_power(host: Any) -> bool:
    """Compare the power states, as a periodic task of Nova does."""
    host.manager._sync_power_states(host.context)
    return True


def _hear_of_guest(host: Any) -> bool:
    """Receive libvirt's event for what the guest has done last."""
    transition = (
        event.EVENT_LIFECYCLE_STARTED
        if host.domain().isActive()
        else event.EVENT_LIFECYCLE_STOPPED
    )
    host.manager.handle_lifecycle_event(
        event.LifecycleEvent(host.server["id"], transition)
    )
    return True


def _track_resources(host: Any) -> bool:
    host.manager.update_available_resource(host.context)
    return True


def _check_stalled(host: Any) -> bool:
    """Run the task that recovers stalled rescues, until enough time has passed."""
    # The first operation may be such a recovery.
    running = set(host.manager._recovering.values())
    for _ in range(3):
        host.now += LONG / 2
        host.manager._recover_stalled_rescues(host.context)
        futures.wait({*host.manager._recovering.values()} - running, TIMEOUT)
    return True


def _recover(host: Any) -> bool:
    """Recover the server, as a recovery that was queued earlier."""
    host.manager._recover_one(host.context, host.find(ATTRIBUTES))
    return True


def _restart(host: Any) -> bool:
    """Start nova-compute again, after it was killed in the first operation."""
    host.restart()
    host.pass_time(LONG)
    return True


SECONDS: dict[str, Second] = {
    "rescue": rescue,
    "unrescue": _request("unrescue"),
    "stop": _request("stop"),
    "start": _request("start"),
    "soft reboot": _request("reboot", "SOFT"),
    "hard reboot": _request("reboot", "HARD"),
    "delete": _request("delete"),
    "force delete": _request("force_delete"),
    "reset to error": _reset_to_error,
    "evacuate": _evacuate,
    "attach volume": _request("attach_volume", VOLUMES[1]),
    "detach volume": _detach_volume,
    "attach port": _attach_port,
    "detach port": _detach_port,
    "snapshot": _request("snapshot", "name"),
    "power sync": _sync_power,
    "lifecycle event": _hear_of_guest,
    "resource tracker": _track_resources,
    "stalled check": _check_stalled,
    "recovery": _recover,
    RESTART: _restart,
}
#: Those that race at every point. The others do so once between two changes of the
#: lock, because nothing that they read changes in between.
AT_EVERY_POINT = ("start", "delete", "reset to error", "evacuate")
#: Those after which the server has other devices than before.
CHANGE_DEVICES = ("attach volume", "detach volume", "attach port", "detach port")
