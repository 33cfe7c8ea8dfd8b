# SPDX-License-Identifier: Apache-2.0
"""The phases of a rescue, as users see them: events of the action."""

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
    """Report the block as the event compute_NAME of the action that is under way.

    With its start, finish and result (`openstack server event show`). What it raises
    is the event's details: raise what a tenant may read. Where the database cannot be
    told, the rescue goes on without.
    """
    event = compute_utils.EventReporter(
        context, f"compute_{name}", CONF.host, instance.uuid, graceful_exit=True
    )
    if not _is_told(event.__enter__):
        yield
        return
    try:
        yield
    except Exception as exc:
        _is_told(event.__exit__, type(exc), exc, exc.__traceback__)
        raise
    _is_told(event.__exit__, None, None, None)


def _is_told(tell: Callable[..., object], *args: object) -> bool:
    try:
        tell(*args)
    except Exception as exc:  # noqa: BLE001 - the rescue goes on without
        LOG.warning("An event of a rescue is not in the database: %s", exc)
        return False
    return True
