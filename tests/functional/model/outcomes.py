# SPDX-License-Identifier: Apache-2.0
"""What users and operators may ask for, and the status that each request leads to."""

_EXISTS = ("ACTIVE", "SHUTOFF", "RESCUE", "ERROR", "SOFT_DELETED")
_UNCHANGED = {status: status for status in _EXISTS}
_RESTORED = {status: status for status in ("ACTIVE", "SHUTOFF")}

#: The status that each request leads to, by the status in which it is accepted. "was"
#: is the status from before the rescue.
OUTCOMES: dict[str, dict[str, str]] = {
    "rescue": {"ACTIVE": "RESCUE", "SHUTOFF": "RESCUE", "ERROR": "RESCUE"},
    "unrescue": {"RESCUE": "was"},
    "stop": {"ACTIVE": "SHUTOFF", "ERROR": "SHUTOFF"},
    "start": {"SHUTOFF": "ACTIVE"},
    "soft reboot": {"ACTIVE": "ACTIVE"},
    "hard reboot": {"ACTIVE": "ACTIVE", "SHUTOFF": "ACTIVE", "ERROR": "ACTIVE"},
    "rebuild": {"ACTIVE": "ACTIVE", "SHUTOFF": "SHUTOFF", "ERROR": "ACTIVE"},
    "delete": dict.fromkeys(_EXISTS, "DELETED"),
    "force delete": dict.fromkeys(_EXISTS, "DELETED"),
    "soft delete": dict.fromkeys(_EXISTS, "SOFT_DELETED"),
    "restore": {"SOFT_DELETED": "ACTIVE"},
    "snapshot": _RESTORED,
    "attach or detach volume": _RESTORED | {"SOFT_DELETED": "SOFT_DELETED"},
    "attach or detach port": _RESTORED,
    "set metadata": _RESTORED,
    "lock or unlock": _UNCHANGED,
    "reset to error": dict.fromkeys(_EXISTS, "ERROR"),
    # The scheduler finds no other host. Only a live migration is refused for that.
    "migrate": _RESTORED,
    "live migrate": {},
}
OUTCOMES["stock rescue"] = OUTCOMES["rescue"]

#: The requests after which the server has other devices.
DEVICES = ("attach or detach volume", "attach or detach port")
#: The requests in which nova-compute changes the guest without stable rescue.
NOVA = ("stop", "start", "soft reboot", "hard reboot", "rebuild")
#: The requests that leave the status as it is.
UNCHANGING = frozenset(
    name
    for name, outcomes in OUTCOMES.items()
    if name not in NOVA and all(before == after for before, after in outcomes.items())
)
#: The requests whose messages may be late or lost. Nova has no remedy for others.
ASYNCHRONOUS = ("rescue", "unrescue", *DEVICES)

#: The requests that are not made more often, because they ask the scheduler.
SLOW = ("migrate", "live migrate")

#: About how many places each step reaches, for those in which faults strike.
PLACES = {
    "rescue": 34,
    "unrescue": 22,
    "rescue times out": 22,
    "service restarts": 20,
    "stop": 4,
    "start": 6,
    "soft reboot": 6,
    "hard reboot": 8,
}
#: The statuses that Nova itself may leave after a fault in its operations.
AFTER_FAULT = frozenset(("ACTIVE", "SHUTOFF", "ERROR"))
EVENTS = (
    *["service restarts"] * 2,
    "time passes",
    "host boots",
    "rescue times out",
    "driver switched",
)
