# SPDX-License-Identifier: Apache-2.0
"""The verdicts of the scenes ``refusals`` and ``restart``."""

import dataclasses

from oslotest import base

from lab.demo.scenes import refusals, restart
from lab.demo.scenes.refusals import Observed
from stable_rescue.tempest.guest.inventory import Inventory


def guest(uptime: float, image: str = "original", boot_id: str = "b1") -> Inventory:
    return Inventory(1, image, "b", "disk", "bios", uptime, (), {}, boot_id)


REFUSED = Observed(
    "ACTIVE", "The image needs a Root Disk.", "running", guest(9), guest(30)
)


class RefusalsTest(base.BaseTestCase):
    def faults(self, **changes: object) -> list[str]:
        observed = dataclasses.replace(REFUSED, **changes)  # type: ignore[arg-type]
        return list(refusals.judge(observed, "root disk"))

    def test_refusal_with_running_guest_and_reason_has_no_faults(self) -> None:
        self.assertEqual([], self.faults())

    def test_refusal_with_another_reason_is_a_fault(self) -> None:
        self.assertEqual(
            ["the reason does not mention root disk"],
            self.faults(reason="no reason given"),
        )

    def test_refusal_with_status_error_and_guest_off_is_a_fault(self) -> None:
        self.assertEqual(
            [
                "the server is in status ERROR",
                "the guest is shut off",
                "the guest did not print its uptime",
            ],
            self.faults(status="ERROR", guest="shut off", after=None),
        )

    def test_refusal_with_guest_booted_again_is_a_fault(self) -> None:
        for after in (guest(5, boot_id="b2"), guest(5, image="rescue")):
            self.assertEqual(["the guest has booted again"], self.faults(after=after))


class RestartTest(base.BaseTestCase):
    def test_restart_with_the_wanted_status_in_time_has_no_faults(self) -> None:
        self.assertEqual([], restart.judge("ACTIVE", "ACTIVE", 8.5))

    def test_restart_with_another_status_or_too_late_is_a_fault(self) -> None:
        self.assertEqual(
            ["the status is ERROR, not ACTIVE", "recovery took more than 10 s"],
            restart.judge("ACTIVE", "ERROR", 10.1),
        )
