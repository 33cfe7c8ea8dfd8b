# SPDX-License-Identifier: Apache-2.0
"""Recover a server, or say what recovery would do, if an operator asks for it.

``stable-rescue recover`` leaves a request in a folder of this host. Nothing is taken
from it but the instance's UUID: the instance is read again with its lock held, as in
any other recovery. Requests for plans are passed on to ``plans``.
"""

import functools
from collections.abc import Sequence
from typing import Any

from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from oslo_concurrency import lockutils
from oslo_log import log as logging

from stable_rescue.compute import states
from stable_rescue.compute.decision import Action, answer_of
from stable_rescue.compute.plans import RequestedPlanMixin
from stable_rescue.outcome import Answer
from stable_rescue.storage import requests
from stable_rescue.storage.requests import Request

LOG = logging.getLogger(__name__)


class RequestedRecoveryMixin(RequestedPlanMixin):
    """Carries out the requests of ``stable-rescue``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Why the folder of requests cannot be used; empty if it can.
        self._folder_problem = ""

    def init_host(self, *args: Any, **kwargs: Any) -> None:
        """Start the host; it does not continue what was requested before."""
        try:
            requests.begin()
        except OSError as exc:
            self._report_folder(str(exc))
        super().init_host(*args, **kwargs)

    def _recover_requested(self, context: nova_context.RequestContext) -> None:
        """Carry out the requests that commands of this host wait for.

        This is done in other threads, because a recovery that hangs must not stop
        Nova's periodic tasks. Requests for one instance get one answer, if they are of
        the same kind, except for plans. A request to recover an instance that is being
        recovered waits.
        """
        try:
            groups: dict[tuple[str, str], list[Request]] = {}
            for request in requests.waiting():
                if request.asked == requests.PLAN:
                    self._start_plan(context, request)
                    continue
                key = request.instance_uuid, request.asked
                groups.setdefault(key, []).append(request)
            for (uuid, _asked), group in groups.items():
                if uuid in self._recovering and not self._recovering[uuid].done():
                    continue
                taken = [request for request in group if requests.take(request)]
                if taken:
                    self._recovering[uuid] = self._workers.submit(
                        functools.partial(self._carry_out, context, taken)
                    )
        except OSError as exc:
            self._report_folder(str(exc))
        else:
            self._report_folder("")

    def _report_folder(self, problem: str) -> None:
        """Log why the folder of requests cannot be used, unless it is known."""
        if problem and problem != self._folder_problem:
            LOG.warning(
                "Could not look for requests of stable-rescue recover and plan, which "
                "are not answered until that is possible: %s",
                problem,
            )
        self._folder_problem = problem

    def _carry_out(
        self, context: nova_context.RequestContext, group: Sequence[Request]
    ) -> Answer:
        """Do what requests of one kind for one instance ask for, and answer them."""
        result = self._result_of(context, group[0])
        for request in group:
            self._answer(request, result)
        return result

    def _result_of(
        self, context: nova_context.RequestContext, request: Request
    ) -> Answer:
        try:
            try:
                instance = objects.Instance.get_by_uuid(
                    context, request.instance_uuid, expected_attrs=states.EXPECTED_ATTRS
                )
            except nova_exception.InstanceNotFound:
                return Answer.UNKNOWN
            if request.asked == requests.DRY_RUN:
                return self._foresee(instance)
            LOG.info(
                "Recovering the rescue as an operator asks (vm_state %s, task_state "
                "%s)",
                instance.vm_state,
                instance.task_state,
                instance=instance,
            )
            answer: Answer = self._recover_one(context, instance, wait=False)
            return answer
        except Exception:
            LOG.exception(
                "Could not carry out stable-rescue recover; the operator can repeat it",
                instance_uuid=request.instance_uuid,
            )
            return Answer.FAILED

    def _foresee(self, instance: "objects.Instance") -> Answer:
        """Return what the recovery of an instance would do; nothing is changed.

        Errors of libvirt propagate.
        """
        try:
            with lockutils.lock(instance.uuid, blocking=False):
                return self._obstacle(instance) or self._foresee_recovery(instance)
        except lockutils.AcquireLockFailedException:
            return Answer.BUSY

    def _foresee_recovery(self, instance: "objects.Instance") -> Answer:
        match action := self._action(instance):
            case Action.FINISH | Action.RESUME:
                # Another driver than StableRescueDriver may not have it.
                expected = getattr(self.driver, "expected_rescue_recovery", None)
                if expected is None:
                    return Answer.INTERRUPTED
                outcome = expected(instance, action is Action.FINISH)
                if action is Action.FINISH:
                    return answer_of(outcome, states.is_failed(instance))
                return Answer[outcome.name] if outcome else Answer.NOTHING
            case Action.CLEAN_UP:
                is_final = getattr(self.driver, "expected_rescue_clean_up", None)
                if is_final is None or is_final(instance):
                    return Answer.CLEANED_UP
                return Answer.STILL_DEFINED
            case Action.DISCARD:
                return Answer.CLEANED_UP
            case Action.END_ERROR:
                return Answer.ERROR_ENDED
            case Action.LEAVE_ERROR:
                return Answer.OTHER_ERROR
        return Answer.NOTHING
