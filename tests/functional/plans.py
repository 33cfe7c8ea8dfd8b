# SPDX-License-Identifier: Apache-2.0
"""Plans that an operator asks nova-compute for, compared with the rescue."""

import argparse
import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

from stable_rescue import metrics, steps
from stable_rescue.cmd import server_plan
from stable_rescue.cmd.exits import REFUSED, CommandError
from stable_rescue.exception import Refused
from stable_rescue.plan import RescuePlan
from tests.functional.asking import SECONDS, AskingTestBase

#: What a command returns: the plan, or its exit status and the reason.
Result = RescuePlan | tuple[int, str]


class PlanTestBase(AskingTestBase):
    """A test case that plans the rescue of its server."""

    #: The steps that a plan may take.
    allowed_steps: frozenset[str] = frozenset()

    def setUp(self) -> None:
        super().setUp()
        # The services of these tests ask for no credentials.
        for group in ("service_user", "cinder"):
            self.flags(auth_type="none", group=group)

    def results(
        self,
        image: str | None = None,
        server: str = "",
        secrets: bool = False,
        times: int = 1,
        **properties: str,
    ) -> list[Result]:
        """Run the command, and return what each run returns.

        :param image: the id of the image; "" names none
        :param times: how many commands run at once
        """
        options = argparse.Namespace(
            server=server or self.server["id"],
            image=(self.image if image is None else image) or None,
            properties=list(properties.items()),
            security_info=secrets,
            timeout=SECONDS,
        )
        results: list[Result] = []
        for asked in self.ask_nova_compute(server_plan.run, options, times):
            match error := asked.exception():
                case None:
                    results.append(asked.result())
                case CommandError():
                    results.append((error.status, str(error)))
                case Refused():
                    results.append((REFUSED, str(error)))
                case _:
                    raise error
        return results

    def plan(self, *arguments: Any, **options: Any) -> RescuePlan:
        """Return the plan; assert that nothing is changed."""
        with self.nothing_changed():
            (plan,) = self.results(*arguments, **options)
        self.assertIsInstance(plan, RescuePlan, plan)
        return plan

    def assert_not_planned(self, status: int, *reasons: str, **options: Any) -> str:
        """Assert that there is no plan, and that nothing is changed.

        :param status: the exit status of the command
        :param reasons: what its message must contain
        :returns: the message
        """
        with self.nothing_changed():
            (result,) = self.results(**options)
        self.assertEqual(status, result[0], result)
        for reason in reasons:
            self.assertIn(reason, result[1])
        return str(result[1])

    @contextlib.contextmanager
    def nothing_changed(self) -> Iterator[None]:
        """Assert that the block changes nothing: of the server, host or counters."""
        points: list[str] = []
        before = self.observed(), self.nova_state(), self.record(), _refusals()
        with mock.patch.object(steps, "observe", points.append):
            yield
        now = self.observed(), self.nova_state(), self.record(), _refusals()
        self.assertEqual(before, now)
        taken = {point.partition(" ")[2] for point in points}
        self.assertLessEqual(taken, self.allowed_steps)

    def assert_both_refuse(self, reason: str, image: str | None = None) -> None:
        """Assert that plan and rescue are refused for the same reason."""
        text = self.assert_not_planned(REFUSED, reason, image=image)
        self.assert_refused(text.partition(" (")[0], image=image)

    def assert_rescue_is_as_planned(self, plan: RescuePlan, image: str) -> None:
        """Rescue the server, and assert that libvirt gets what was planned."""
        self.rescue_server(image)
        record = self.record()
        self.assertEqual(
            (plan.rescue.to_xml(), plan.original.to_xml(), plan.device, plan.bus),
            (record.rescue_xml, record.original_xml, record.device, record.bus),
        )


def _refusals() -> float:
    """Return how many rescues were refused."""
    return sum(
        sample.value
        for family in metrics.REFUSALS.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    )
