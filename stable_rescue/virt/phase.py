# SPDX-License-Identifier: Apache-2.0
"""The phases of a rescue that users see, as events of the server's action.

Events are written by the conductor, which may hang. One thread of this process writes
all of them, in order. While a guest is off, none of its events is written: the guest
that starts next would share the processor with the services that write them.
"""

import contextlib
import datetime
from collections.abc import Iterator
from concurrent import futures

from nova import conf as nova_conf
from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from oslo_log import log as logging
from oslo_utils import timeutils

from stable_rescue import activity
from stable_rescue.workers import Workers

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)

# The guest is off, or paused, when these end, or when they fail.
_POWER_OFF = ("rescue_dump", "rescue_power_off", "unrescue_power_off")
_BOOT = ("rescue_boot", "unrescue_boot")
# How long the end of another phase waits for its event.
_WAIT_SECONDS = 5

_writer = Workers(lambda: 1, "stable-rescue-events")
# By the UUID of an instance whose guest is off, or paused: the phases that have ended
# since the guest ran.
_held: dict[str, list["_Event"]] = {}


@contextlib.contextmanager
def phase(
    context: nova_context.RequestContext, instance: "objects.Instance", name: str
) -> Iterator[None]:
    """Report the block as the event compute_NAME of the running action.

    Users see its start, finish and result with `openstack server event show`. An
    error becomes the event's details, so raise only what a tenant may read. If the
    conductor does not answer, the rescue continues, and the event is written later or
    not at all. The finish of a power-off is written after the boot, with the time of
    the boot's end, because the conductor notes the time.
    """
    event = _Event(context, instance, f"compute_{name}")
    if instance.uuid not in _held:
        _writer.submit(event.write)
        if name in _POWER_OFF:
            wait_for_events()
    try:
        with activity.activity(instance.uuid, name):
            yield
    except Exception as exc:
        _finish(event, name, exc)
        raise
    _finish(event, name, None)


def _finish(event: "_Event", name: str, error: Exception | None) -> None:
    event.error, event.finish_time = error, timeutils.utcnow(with_timezone=True)
    if error is None and name in _POWER_OFF:
        _held.setdefault(event.uuid, []).append(event)
        return
    for each in (*_held.pop(event.uuid, ()), event):
        _writer.submit(each.write)
    # After an error, the guest may be off still.
    if error is None or name not in (*_POWER_OFF, *_BOOT):
        wait_for_events()


def wait_for_events() -> None:
    """Wait until all events so far are written, but only a few seconds."""
    futures.wait([_writer.submit(lambda: None)], _WAIT_SECONDS)


def report_later(
    context: nova_context.RequestContext,
    instance: "objects.Instance",
    name: str,
    seconds: float,
    problem: str | None,
) -> None:
    """Report something that has ended now as the event compute_NAME.

    :param seconds: how long it took
    :param problem: why it failed, for the tenant; None if it succeeded
    """
    event = _Event(context, instance, f"compute_{name}")
    event.finish_time = event.start_time
    event.start_time -= datetime.timedelta(seconds=seconds)
    if problem:
        try:
            # Nova takes an error without a traceback for a success.
            raise nova_exception.NovaException(problem)
        except nova_exception.NovaException as exc:
            event.error = exc
    _writer.submit(event.write)


def report_refusal(
    context: nova_context.RequestContext, instance: "objects.Instance", error: Exception
) -> None:
    """Report a refusal before the first phase, as that phase's event."""
    with (
        contextlib.suppress(type(error)),
        phase(context, instance, "rescue_plan"),
    ):
        raise error


class _Event:
    """One event of an instance's running action; ``write`` may be called repeatedly."""

    def __init__(
        self,
        context: nova_context.RequestContext,
        instance: "objects.Instance",
        name: str,
    ) -> None:
        self._context, self._instance, self._name = context, instance, name
        self.uuid: str = instance.uuid
        self.start_time = timeutils.utcnow(with_timezone=True)
        self.finish_time: datetime.datetime | None = None
        self.error: Exception | None = None
        self._is_written = self._is_closed = False

    def write(self) -> None:
        """Write what has happened and is not written yet."""
        # oslo.log reads the request id from the thread's context store.
        self._context.update_store()
        try:
            if not self._is_closed and not self._is_written:
                self._create()
            if not self._is_closed and self.finish_time is not None:
                self._is_closed = True
                self._finish()
        except Exception as exc:  # noqa: BLE001 - the rescue continues without it
            self._is_closed = True
            LOG.warning(
                "Could not report the event %s, continuing without it: %s",
                self._name,
                exc,
                instance=self._instance,
            )

    def _create(self) -> None:
        event = objects.InstanceActionEvent(
            self._context,
            event=self._name,
            host=CONF.host,
            start_time=self.start_time,
        )
        if self.finish_time is not None and self.error is None:
            event.finish_time, event.result = self.finish_time, "Success"
            self._is_closed = True
        event.create(self.uuid, self._context.request_id)
        self._is_written = True

    def _finish(self) -> None:
        """Finish the event; the conductor notes the time."""
        objects.InstanceActionEvent.event_finish_with_failure(
            self._context,
            self.uuid,
            self._name,
            exc_val=self.error,
            exc_tb=self.error.__traceback__ if self.error else None,
            want_result=False,
        )
