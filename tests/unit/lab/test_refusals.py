# SPDX-License-Identifier: Apache-2.0
"""What the scenes of refusals and restarts take for well."""

import dataclasses

from oslotest import base

from lab.demo.scenes import refusals, restart
from lab.demo.scenes.refusals import Seen
from stable_rescue.tempest.guest.inventory import Inventory


def printed(uptime: float, image: str = "original", boot_id: str = "b1") -> Inventory:
    return Inventory(1, image, "b", "disk", "bios", uptime, (), {}, boot_id)


WELL = Seen(
    "ACTIVE", "it needs a root disk of 1024 GiB", "running", printed(9), printed(30)
)


class RefusalsTest(base.BaseTestCase):
    def faults(self, **changes: object) -> list[str]:
        seen = dataclasses.replace(WELL, **changes)  # type: ignore[arg-type]
        return list(refusals.judge(seen, "1024 GiB"))

    def test_a_guest_that_never_noticed_and_a_reason(self) -> None:
        self.assertEqual([], self.faults())

    def test_a_reason_that_names_something_else(self) -> None:
        self.assertEqual(
            ["the reason does not name 1024 GiB"], self.faults(reason="no reason given")
        )

    def test_a_server_in_error_its_guest_off(self) -> None:
        self.assertEqual(
            [
                "the server is in status ERROR",
                "the guest is shut off",
                "the guest does not tell how long it has run",
            ],
            self.faults(status="ERROR", guest="shut off", after=None),
        )

    def test_a_guest_that_was_booted_again(self) -> None:
        for after in (printed(5, boot_id="b2"), printed(5, image="rescue")):
            self.assertEqual(["the guest has booted again"], self.faults(after=after))


class RestartTest(base.BaseTestCase):
    def test_well(self) -> None:
        self.assertEqual([], restart.judge("ACTIVE", "ACTIVE", 8.5))

    def test_another_status_or_too_late(self) -> None:
        self.assertEqual(
            ["the status is ERROR, not ACTIVE", "it took more than 10 s"],
            restart.judge("ACTIVE", "ERROR", 10.1),
        )
