# SPDX-License-Identifier: Apache-2.0
"""How errors of a rescue become Nova's InstanceNotRescuable, fit for a tenant."""

import contextlib
from collections.abc import Iterator

from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from oslo_log import log as logging

from stable_rescue import exception, metrics
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
        kind, reason = reason_of(exc)
        metrics.REFUSALS.labels(kind).inc()
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


def reason_of(exc: Exception) -> tuple[str, str]:
    """Return the kind of a reason, and the reason for a tenant.

    The reason has neither host paths nor secrets. The kind is a label of the metrics.
    """
    match exc:
        case exception.Refused():
            return "unsuitable", str(exc)
        case exception.NotAccepted():
            return (
                "not_accepted",
                "the hypervisor did not accept the rescue definition; ask the operator",
            )
        case exception.StableRescueError():
            return (
                "definition",
                "no rescue can be derived from the server's definition; ask the "
                "operator",
            )
        case nova_exception.InstanceNotFound():
            return (
                "no_definition",
                "the hypervisor has no definition of this server; hard reboot the "
                "server",
            )
        case nova_exception.ImageNotFound():
            return (
                "image_missing",
                "the rescue image does not exist; name another image",
            )
        case nova_exception.ImageNotAuthorized():
            return (
                "image_denied",
                "the image service denies access to the rescue image; name another "
                "image",
            )
        case nova_exception.ImageUnacceptable():
            message = exc.format_message()
            # If a conversion fails, Nova's message has the command with host paths.
            details = "" if "/" in message else f": {message}"
            return "image_unusable", f"the rescue image cannot be used{details}"
        case nova_exception.GlanceConnectionFailed():
            return (
                "image_service",
                "the image service does not answer; try again later",
            )
        case OSError():
            error = exc.strerror or "a transfer failed"
            return (
                "host",
                f"the compute host cannot prepare the rescue: {error}; ask the "
                "operator",
            )
    return "error", "the compute host cannot prepare the rescue; ask the operator"
