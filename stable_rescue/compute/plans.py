# SPDX-License-Identifier: Apache-2.0
"""Plan a rescue if an operator asks for it, without changing anything.

``stable-rescue plan SERVER`` leaves a request in a folder of this host. The instance is
read when the plan is made and once more at its end, with the instance's lock held, as
in a rescue. In between, the lock is free: Glance or a volume may take long to answer,
and users' requests must not wait for a plan.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from keystoneauth1 import exceptions as keystone_exception
from nova import conf as nova_conf
from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from nova.virt import driver as virt_driver
from oslo_concurrency import lockutils
from oslo_log import log as logging
from oslo_utils import uuidutils

from stable_rescue import activity, exception, nova_internals, properties
from stable_rescue.compute import api_checks, block_device, image, states
from stable_rescue.compute.stalled import StalledRescueMixin
from stable_rescue.domain import secrets
from stable_rescue.outcome import PlanAnswer
from stable_rescue.plan import RescuePlan
from stable_rescue.storage import requests
from stable_rescue.storage.requests import Request
from stable_rescue.virt.refusal import reason_of
from stable_rescue.workers import Workers

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)

# The number of plans that are made at once. A plan that hangs must not stop a recovery,
# so the threads are others.
_PLANNERS = 4

_VOLUMES_NOT_ASKED = (
    "not checked: the volumes in Cinder, because [cinder] of nova.conf has no "
    "auth_type; the plan uses the connections in Nova's database"
)

Details = dict[str, Any]


@dataclass(frozen=True)
class _Asked:
    """What an operator asks: the image if one is named, properties, and secrets."""

    image_ref: str | None
    properties: dict[str, str]
    secrets: bool

    @classmethod
    def of(cls, details: Details) -> Self:
        """Return the details of a request.

        :raises ValueError: if the image is no ID
        :raises KeyError: if something is missing
        """
        image_ref = details["image"]
        # Nova would take something else for the address of an image service.
        if image_ref is not None and not uuidutils.is_uuid_like(image_ref):
            raise ValueError(f"{image_ref} is not the ID of an image")
        given = details["properties"].items()
        properties = {str(name): str(value) for name, value in given}
        return cls(image_ref, properties, bool(details["secrets"]))


class RequestedPlanMixin(StalledRescueMixin):
    """Makes the plans that ``stable-rescue plan SERVER`` asks for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._planners = Workers(lambda: _PLANNERS, "stable-rescue-plan")

    def _start_plan(
        self, context: nova_context.RequestContext, request: Request
    ) -> None:
        """Take a request, and plan in another thread.

        :raises OSError: if the request cannot be taken
        """
        if requests.take(request):
            self._planners.submit(
                functools.partial(self._answer_with_plan, context, request)
            )

    def _answer_with_plan(
        self, context: nova_context.RequestContext, request: Request
    ) -> None:
        details: Details = {}
        try:
            with activity.activity(request.instance_uuid, "plan"):
                result, details = self._plan_requested(context, request)
        except Exception:
            LOG.exception(
                "Could not carry out stable-rescue plan; the operator can repeat it",
                instance_uuid=request.instance_uuid,
            )
            result = PlanAnswer.FAILED
        try:
            self._answer(request, result, details)
        except OSError:
            # On a full disk, the answer itself needs no space.
            self._answer(request, PlanAnswer.FAILED)

    def _answer(
        self, request: Request, result: str, details: Details | None = None
    ) -> None:
        """Answer a request.

        :raises OSError: if the details cannot be written
        """
        try:
            requests.answer(request, result, details)
        except OSError as exc:
            LOG.warning(
                "Could not answer stable-rescue %s, whose result is %s: %s",
                request.asked,
                result,
                exc,
                instance_uuid=request.instance_uuid,
            )
            if details:
                raise

    def _plan_requested(
        self, context: nova_context.RequestContext, request: Request
    ) -> tuple[PlanAnswer, Details]:
        """Return the answer to a request, and its details."""
        asked = _Asked.of(requests.details_of(request))
        try:
            instance = objects.Instance.get_by_uuid(
                context, request.instance_uuid, expected_attrs=states.EXPECTED_ATTRS
            )
        except nova_exception.InstanceNotFound:
            return PlanAnswer.UNKNOWN, {}
        if instance.host != self.host:
            return PlanAnswer.ELSEWHERE, {}
        LOG.info("Planning a rescue as an operator asks", instance=instance)
        try:
            plan = self._plan(instance, asked)
        except _HasGone as exc:
            return exc.answer, {}
        except lockutils.AcquireLockFailedException:
            return PlanAnswer.BUSY, {}
        except exception.NotPlanned as exc:
            return PlanAnswer.NOT_PLANNED, {"reason": str(exc)}
        except Exception as exc:  # noqa: BLE001 - the operator gets it
            return PlanAnswer.REFUSED, _refusal(exc)
        original, rescue = plan.original, plan.rescue
        if not asked.secrets:
            original, rescue = map(secrets.without_secrets, (original, rescue))
        plan = dataclasses.replace(plan, original=original, rescue=rescue)
        return PlanAnswer.PLANNED, plan.to_dict()

    def _plan(self, instance: "objects.Instance", asked: _Asked) -> RescuePlan:
        """Return the plan of a rescue; nothing is changed.

        Any other error than the following means that the rescue would be refused.

        :raises NotPlanned: if there cannot be a plan
        :raises _HasGone: if the instance was deleted or has left this host
        :raises AcquireLockFailedException: of oslo.concurrency, if another operation
            works on the instance
        """
        api_checks.check_state(instance)
        plan_rescue = getattr(self.driver, "plan_rescue", None)
        if plan_rescue is None:
            raise exception.NotPlanned(f"{CONF.compute_driver} makes no plans")
        context = _service_user()
        image_ref = image.choose(instance, asked.image_ref)
        if not image_ref:
            raise exception.Refused(
                "the server was made from no image; name an image to rescue it with"
            )
        findings = [*api_checks.findings(instance)]

        def block_devices() -> Details:
            # Nova's client uses these for a request without a user's token.
            if not CONF.cinder.auth_type:
                stored = nova_internals.block_device_info(context, instance)
                if virt_driver.block_device_info_get_mapping(stored):
                    findings.append(_VOLUMES_NOT_ASKED)
                    return stored
            return block_device.rebuild(self, context, instance)

        with _asking_glance(image_ref):
            # As in a rescue, Nova checks all properties of the image.
            meta = objects.ImageMeta.from_image_ref(context, self.image_api, image_ref)
            # If the user names no image, the API looks at the server's.
            present = (meta if asked.image_ref else instance.image_meta).properties
            names = {name for name in properties.CHOOSING if name in present}
            names |= asked.properties.keys()
            api_checks.check_devices(context, instance, names)
            planned = plan_rescue(
                context, instance, image_ref, asked.properties, block_devices
            )
        # Plans of one server wait for each other, but not for anything else.
        with (
            lockutils.lock(f"stable-rescue-plan-{instance.uuid}"),
            lockutils.lock(instance.uuid, blocking=False),
        ):
            self._check_still_here(instance)
            api_checks.check_state(instance)
            planned.check_unchanged()
        plan: RescuePlan = planned.plan
        return dataclasses.replace(plan, findings=(*findings, *plan.findings))

    def _check_still_here(self, instance: "objects.Instance") -> None:
        """Read an instance again, whose lock the caller holds.

        :raises _HasGone: if it was deleted or has left this host
        """
        if not self._exists(instance):
            raise _HasGone(PlanAnswer.UNKNOWN)
        if instance.host != self.host:
            raise _HasGone(PlanAnswer.ELSEWHERE)


class _HasGone(exception.StableRescueError):
    """An instance has left this host while its rescue was being planned."""

    def __init__(self, answer: PlanAnswer) -> None:
        super().__init__(answer)
        self.answer = answer


def _service_user() -> nova_context.RequestContext:
    """Return the context for all requests of a plan.

    :raises NotPlanned: if nova-compute has no credentials for Glance
    """
    try:
        context = nova_internals.service_user_context()
    except keystone_exception.ClientException as exc:
        raise exception.NotPlanned(
            f"the credentials in [service_user] of nova.conf cannot be used: {exc}"
        ) from exc
    if context is None:
        raise exception.NotPlanned(
            "nova-compute has no credentials for Glance, because [service_user] of "
            "nova.conf has no auth_type. A rescue asks with the token of the user who "
            "requests it"
        )
    return context


@contextlib.contextmanager
def _asking_glance(image_ref: str) -> Iterator[None]:
    """Keep a refusal by Glance of Nova's service user apart from a refused rescue.

    A rescue asks Glance as another user, who may be allowed what this one is not.

    :raises NotPlanned: if Glance does not show the image to Nova's service user, or the
        user's credentials fail
    """
    try:
        yield
    except (nova_exception.ImageNotFound, nova_exception.ImageNotAuthorized) as exc:
        raise exception.NotPlanned(
            f"Glance does not show image {image_ref} to the user in [service_user] of "
            "nova.conf. The image does not exist, or this user has no role that shows "
            "it the images of other projects. A rescue asks with the token of the user "
            "who requests it"
        ) from exc
    except keystone_exception.ClientException as exc:
        raise exception.NotPlanned(
            "nova-compute cannot ask Glance with the credentials in [service_user] of "
            f"nova.conf: {exc}"
        ) from exc


def _refusal(exc: Exception) -> Details:
    """Return why a rescue would be refused: what its user reads, and the cause."""
    _kind, reason = reason_of(exc)
    is_all = isinstance(exc, (exception.Refused, nova_exception.NotFound))
    return {
        "reason": reason,
        "cause": "" if is_all else f"{type(exc).__name__}: {exc}",
    }
