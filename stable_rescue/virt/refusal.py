# SPDX-License-Identifier: Apache-2.0
"""How errors of a rescue become Nova's InstanceNotRescuable, fit for a tenant."""

import contextlib
from collections.abc import Iterator

from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from oslo_log import log as logging

from stable_rescue import exception
from stable_rescue.virt.phase import report_refusal

LOG = logging.getLogger(__name__)


@contextlib.contextmanager
def refusing(
    instance: "objects.Instance", context: nova_context.RequestContext | None = None
) -> Iterator[None]:
    """Turn any error of the block into a refusal, and log its reason.

    Use it for what happens before power-off, while the server is unchanged.

    :param context: given outside of a phase, so that users see an event with the reason
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
            "Rescue refused, the server is unchanged: %s",
            reason if expected else f"{reason} ({type(exc).__name__}: {exc})",
            instance=instance,
            exc_info=not expected,
        )
        refusal = nova_exception.InstanceNotRescuable(
            instance_id=instance.uuid, reason=reason
        )
        if context is not None:
            report_refusal(context, instance, refusal)
        raise refusal from exc


@contextlib.contextmanager
def failing(instance: "objects.Instance", what: str) -> Iterator[None]:
    """Turn any error of the block into one whose text is fit for a tenant.

    Use it for what happens after power-off. The error itself goes to the log.

    :param what: what failed, for the tenant
    :raises nova.exception.InstanceNotRescuable: with a reason that names no host path
    """
    try:
        yield
    except nova_exception.InstanceNotRescuable:
        raise
    except Exception as exc:
        LOG.exception(
            "Rescue: %s; its record is kept until the server is recovered",
            what,
            instance=instance,
        )
        raise nova_exception.InstanceNotRescuable(
            instance_id=instance.uuid,
            reason=f"{what}; ask the operator",
        ) from exc


def _reason(exc: Exception) -> str:
    """Return the reason for a tenant, without host paths and secrets."""
    if isinstance(exc, exception.Refused):
        return str(exc)
    if isinstance(exc, exception.NotAccepted):
        return "the hypervisor did not accept the rescue definition; ask the operator"
    if isinstance(exc, exception.StableRescueError):
        return "no rescue can be derived from the server's definition; ask the operator"
    if isinstance(exc, nova_exception.InstanceNotFound):
        return "the hypervisor has no definition of this server; hard reboot the server"
    if isinstance(exc, nova_exception.ImageNotFound):
        return "the rescue image does not exist; name another image"
    if isinstance(exc, nova_exception.ImageNotAuthorized):
        return "the image service denies access to the rescue image; name another image"
    if isinstance(exc, nova_exception.ImageUnacceptable):
        message = exc.format_message()
        # If a conversion fails, Nova's message has the command with the host's paths.
        details = "" if "/" in message else f": {message}"
        return f"the rescue image cannot be used{details}"
    if isinstance(exc, nova_exception.GlanceConnectionFailed):
        return "the image service does not answer; try again later"
    if isinstance(exc, OSError):
        error = exc.strerror or "a transfer failed"
        return f"the compute host cannot prepare the rescue: {error}; ask the operator"
    return "the compute host cannot prepare the rescue; ask the operator"
