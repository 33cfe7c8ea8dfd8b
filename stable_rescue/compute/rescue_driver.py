# SPDX-License-Identifier: Apache-2.0
"""What the compute manager needs of a driver to rescue a server safely.

StableRescueDriver has these methods. Another driver that has them takes part as well;
for any other driver, the manager is Nova's.
"""

import datetime
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from nova import context as nova_context
from nova import objects
from oslo_utils import importutils

from stable_rescue.outcome import Outcome


class KnownRescue(Protocol):
    """What a host knows about an instance's rescue, as one value."""

    @property
    def has_record(self) -> bool:
        """True if the host has a record of a rescue, even a damaged one."""

    @property
    def is_lost(self) -> bool:
        """True if the instance is RESCUED, but nothing says how to restore it."""

    @property
    def is_begun(self) -> bool:
        """True if a rescue has left something; the request for it has arrived."""

    @property
    def is_untouched(self) -> bool:
        """True if a rescue was prepared, but has not touched the guest."""

    @property
    def is_ending(self) -> bool:
        """True unless it is known that the end of the rescue has not begun."""

    @property
    def is_stable(self) -> bool:
        """True if the manager has to recover the server if unrescue fails."""

    @property
    def was_running(self) -> bool | None:
        """True if the guest ran before the rescue; None if that is unknown."""

    @property
    def launched_at(self) -> datetime.datetime | None:
        """When Nova launched the server, in UTC; None if that is unknown."""

    @property
    def rescued_at(self) -> datetime.datetime | None:
        """When the rescue system was started, in UTC; None if that is unknown."""


@runtime_checkable
class RescueDriver(Protocol):
    """A driver that prepares a rescue before power-off, and recovers a failed one.

    The driver's ``rescue`` powers the guest off and boots what ``prepare_rescue`` has
    prepared. If ``rescue`` or ``unrescue`` fails, the manager calls ``recover_rescue``
    instead of setting ERROR. The manager holds the instance's lock during
    ``confirm_rescue``, ``rescue``, ``unrescue``, ``recover_rescue``,
    ``clean_up_rescue`` and ``remove_rescue_record``, and sets ``managed`` to True on
    the driver.

    A driver may also have ``expected_rescue_recovery`` and
    ``expected_rescue_clean_up``, as StableRescueDriver does, which return what
    ``recover_rescue`` and ``clean_up_rescue`` would do. ``stable-rescue recover
    --dry-run`` then says more. With ``plan_rescue``, ``stable-rescue plan SERVER``
    works.
    """

    def prepare_rescue(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        image_id: str,
        admin_password: str,
        get_block_device_info: Callable[[], dict[str, Any]],
    ) -> bool:
        """Do everything that is possible while the guest runs.

        :param get_block_device_info: returns the server's block devices, with the
            current connections from Cinder
        :returns: False if Nova's manager shall do this rescue, without preparation
        :raises nova.exception.InstanceNotRescuable: if the rescue is refused, with a
            reason fit for a tenant; the server is unchanged
        """

    def confirm_rescue(
        self, context: nova_context.RequestContext, instance: "objects.Instance"
    ) -> None:
        """Check, just before power-off, that a prepared rescue still fits the server.

        :raises nova.exception.InstanceNotRescuable: if it does not; the prepared rescue
            is discarded
        """

    def discard_rescue(self, instance: "objects.Instance", deleted: bool) -> None:
        """Remove a prepared rescue that is not wanted any more.

        :param deleted: the instance is deleted, or is about to be
        """

    def known_rescue(self, instance: "objects.Instance") -> KnownRescue:
        """Return what this host knows about an instance's rescue.

        :raises OSError: if that cannot be read
        """

    def instances_with_rescue_record(self) -> list[str]:
        """Return the UUIDs of this host's instances with a record, even damaged."""

    def recover_rescue(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        finish: bool = False,
    ) -> Outcome | None:
        """Finish or roll back a rescue, or the end of one, that was interrupted.

        Any exception means that the server is not recovered; the record is then kept.

        :param finish: end a rescue whose end had begun, instead of returning to it
        :returns: None if there was nothing to recover
        """

    def clean_up_rescue(
        self, context: nova_context.RequestContext, instance: "objects.Instance"
    ) -> None:
        """Remove the leftovers of a rescue that has ended; the guest keeps running."""

    def remove_rescue_record(self, instance: "objects.Instance") -> None:
        """Remove the record of a rescue that has ended, once Nova's database agrees."""


def takes_part(compute_driver: str) -> bool:
    """Return True if a driver is a RescueDriver.

    :param compute_driver: the driver's name, as in ``[DEFAULT] compute_driver``
    """
    try:
        driver_class = importutils.import_class(f"nova.virt.{compute_driver}")
    except ImportError:
        # Nova imports the driver next, and reports the error.
        return False
    return issubclass(driver_class, RescueDriver)
