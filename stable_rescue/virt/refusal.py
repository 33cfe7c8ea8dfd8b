# SPDX-License-Identifier: Apache-2.0
"""How an error before the guest is touched becomes Nova's InstanceNotRescuable."""

import contextlib
from collections.abc import Iterator

from nova import exception as nova_exception
from nova import objects
from oslo_log import log as logging

from stable_rescue import exception

LOG = logging.getLogger(__name__)


@contextlib.contextmanager
def refusing(instance: "objects.Instance") -> Iterator[None]:
    """Turn whatever the block raises into a refusal, with its reason logged.

    :raises nova.exception.InstanceNotRescuable: with a reason fit for a tenant
    """
    try:
        yield
    except nova_exception.InstanceNotRescuable:
        raise
    except Exception as exc:
        reason = _reason(exc)
        expected = isinstance(exc, (exception.Refused, nova_exception.NotFound))
        LOG.warning(
            "Rescue refused, the server is as it was: %s",
            reason if expected else f"{reason} ({type(exc).__name__}: {exc})",
            instance=instance,
            exc_info=not expected,
        )
        raise nova_exception.InstanceNotRescuable(
            instance_id=instance.uuid, reason=reason
        ) from exc


@contextlib.contextmanager
def failing(instance: "objects.Instance", what: str) -> Iterator[None]:
    """Turn whatever the block raises into an error whose text is fit for a tenant.

    :param what: what could not be done, for the tenant
    :raises nova.exception.InstanceNotRescuable: with a reason that names no host path
    """
    try:
        yield
    except nova_exception.InstanceNotRescuable:
        raise
    except Exception as exc:
        LOG.exception("%s", what, instance=instance)
        raise nova_exception.InstanceNotRescuable(
            instance_id=instance.uuid,
            reason=f"{what}; ask the operator",
        ) from exc


def _reason(exc: Exception) -> str:
    """Return the reason for a tenant: no host's path, no secret."""
    if isinstance(exc, exception.Refused):
        return str(exc)
    if isinstance(exc, exception.NotAccepted):
        return "the hypervisor did not accept the rescue definition; ask the operator"
    if isinstance(exc, exception.StableRescueError):
        return "the server's definition cannot be rescued from; ask the operator"
    if isinstance(exc, nova_exception.InstanceNotFound):
        return "the hypervisor has no definition of this server"
    if isinstance(exc, nova_exception.ImageNotFound):
        return "the rescue image is not found"
    if isinstance(exc, nova_exception.ImageNotAuthorized):
        return "the rescue image may not be read"
    if isinstance(exc, nova_exception.ImageUnacceptable):
        told = exc.format_message()
        # Where it cannot be converted Nova tells the command, with the host's paths.
        return "the rescue image cannot be used" + ("" if "/" in told else f": {told}")
    if isinstance(exc, nova_exception.GlanceConnectionFailed):
        return "the image service does not answer"
    if isinstance(exc, OSError):
        told = exc.strerror or "a transfer failed"
        return f"the compute host cannot prepare the rescue: {told}"
    return "the compute host cannot prepare the rescue; ask the operator"
