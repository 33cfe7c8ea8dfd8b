# SPDX-License-Identifier: Apache-2.0
"""The operations that are at a point when another one begins."""

from collections.abc import Callable
from typing import Any, NamedTuple
from unittest import mock

from tests.functional.faults.strikes import Kill
from tests.functional.model.world import LONG
from tests.functional.races.seconds import rescue

Act = Callable[[Any], Any]


class First(NamedTuple):
    """An operation, how to prepare for it, and the server's status around it."""

    name: str
    prepare: Act
    act: Act
    #: The status if the operation is dropped, or None if a task would be left.
    undone: str | None
    done: str
    #: The status from before the rescue.
    was: str = "ACTIVE"
    #: Whether some operations race with it at every point, not once in each stretch.
    is_thorough: bool = False

    @property
    def is_recovery(self) -> bool:
        """Return True if the operation is a recovery."""
        return self.act in (_restart, _pass_time)


def _nothing(_host: Any) -> None:
    pass


def _stop(host: Any) -> None:
    assert host.ask(host.compute_api.stop)


def _rescue_stopped(host: Any) -> None:
    _stop(host)
    rescue(host)


def _rescue_stock(host: Any) -> None:
    host.ask(host.compute_api.rescue, None, host.images["stock rescue"])


def _unrescue(host: Any) -> None:
    host.ask(host.compute_api.unrescue)


def _end_overdue(host: Any) -> None:
    """Run the task that ends a rescue after ``rescue_timeout``."""
    host.flags(rescue_timeout=1)
    with mock.patch("oslo_utils.timeutils.is_older_than", return_value=True):
        host.manager._poll_rescued_instances(host.context)


def _pass_time(host: Any) -> None:
    host.pass_time(LONG)


def _restart(host: Any) -> None:
    host.restart()


def _killed(action: Act, point: str, number: int = 1) -> Act:
    """Return a function that does something until nova-compute is killed."""

    def begin(host: Any) -> None:
        host.injection.arm({(point, number): Kill()})
        action(host)
        host.injection.disarm()
        host.notice_kill()
        assert host.messages.is_down

    return begin


def _rescue_until(point: str) -> Act:
    return _killed(rescue, point)


def _unrescue_until(point: str, number: int = 1, prepare: Act = rescue) -> Act:
    unrescue = _killed(_unrescue, point, number)

    def begin(host: Any) -> None:
        prepare(host)
        unrescue(host)

    return begin


def _boot_host(host: Any) -> None:
    """Boot the host while the server is rescued."""
    rescue(host)
    host.reboot_host()


def _fail(host: Any) -> None:
    """Rescue the server, so that neither the rescue nor its rollback starts it."""
    with mock.patch("stable_rescue.nova_internals.start_guest", side_effect=OSError(5)):
        rescue(host)
    assert host.status() == "ERROR"


_STARTING = "before start a domain"

RESCUES = (
    First("rescue", _nothing, rescue, "ACTIVE", "RESCUE", is_thorough=True),
    First("rescue, stopped", _stop, rescue, "SHUTOFF", "RESCUE", "SHUTOFF"),
    First("stock rescue", _nothing, _rescue_stock, "ACTIVE", "RESCUE"),
)
UNRESCUES = (
    First("unrescue", rescue, _unrescue, "RESCUE", "ACTIVE", is_thorough=True),
    First(
        "unrescue, stopped",
        _rescue_stopped,
        _unrescue,
        "RESCUE",
        "SHUTOFF",
        "SHUTOFF",
    ),
    First(
        "stock unrescue",
        _rescue_stock,
        _unrescue,
        "RESCUE",
        "ACTIVE",
    ),
    First("rescue_timeout", rescue, _end_overdue, "RESCUE", "ACTIVE"),
)
RECOVERIES = (
    First("restart, rescue", _rescue_until(_STARTING), _restart, None, "ACTIVE"),
    First(
        "restart, unrescue",
        _unrescue_until(_STARTING),
        _restart,
        None,
        "ACTIVE",
        is_thorough=True,
    ),
    First("restart, host boot", _boot_host, _restart, "RESCUE", "RESCUE"),
    First(
        "restart, leftovers",
        _unrescue_until("before remove a file", 7),
        _restart,
        "ACTIVE",
        "ACTIVE",
    ),
    First(
        "stalled rescue",
        _rescue_until("after fetch the rescue disk"),
        _pass_time,
        None,
        "ACTIVE",
    ),
    First(
        "restart, leftovers, stopped",
        _unrescue_until("before remove a file", 7, _rescue_stopped),
        _restart,
        "SHUTOFF",
        "SHUTOFF",
        "SHUTOFF",
        is_thorough=True,
    ),
    First("stalled failure", _fail, _pass_time, "ERROR", "ACTIVE"),
)
