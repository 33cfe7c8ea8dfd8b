# SPDX-License-Identifier: Apache-2.0
"""The phases of a rescue that users see, as events of the server's action."""

import contextlib
from collections.abc import Callable, Iterator

from nova import conf as nova_conf
from nova import context as nova_context
from nova import objects
from nova.compute import utils as compute_utils
from oslo_log import log as logging

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)


@contextlib.contextmanager
def phase(
    context: nova_context.RequestContext, instance: "objects.Instance", name: str
) -> Iterator[None]:
    """Report the block as the event compute_NAME of the running action.

    Users see its start, finish and result with `openstack server event show`. An
    error becomes the event's details, so raise only what a tenant may read. If the
    database cannot be reached, the rescue continues without the event.
    """
    event = compute_utils.EventReporter(
        context, f"compute_{name}", CONF.host, instance.uuid, graceful_exit=True
    )
    if not _report(instance, name, event.__enter__):
        yield
        return
    try:
        yield
    except Exception as exc:
        _report(instance, name, event.__exit__, type(exc), exc, exc.__traceback__)
        raise
    _report(instance, name, event.__exit__, None, None, None)


def _report(
    instance: "objects.Instance",
    name: str,
    report: Callable[..., object],
    *args: object,
) -> bool:
    """Return True if the event could be written to the database."""
    try:
        report(*args)
    except Exception as exc:  # noqa: BLE001 - the rescue continues without it
        LOG.warning(
            "Could not report the event compute_%s, continuing without it: %s",
            name,
            exc,
            instance=instance,
        )
        return False
    return True
