# SPDX-License-Identifier: Apache-2.0
"""What a failed preparation does with the steps that it has taken."""

from unittest import mock

from oslotest import base

from stable_rescue.virt.rollback import Rollback


class RollbackTest(base.BaseTestCase):
    """The steps are called connect, fetch and define; the last one is to record."""

    def setUp(self) -> None:
        super().setUp()
        self.undone: list[str] = []
        self.rollback = Rollback(
            mock.Mock(uuid="u"), lastly=lambda: self.undone.append("record")
        )

    def prepare(self, failing: str | None = None) -> None:
        """Take all steps and fail; what rolls back ``failing`` fails as well."""
        with self.rollback:
            for step in ("connect", "fetch", "define"):
                self.rollback.add(self.undo, step, step == failing)
            raise LookupError("the preparation failed")

    def undo(self, step: str, fails: bool) -> None:
        self.undone.append(step)
        if fails:
            raise OSError("the rollback failed")

    def test_steps_are_rolled_back_last_one_first(self) -> None:
        self.assertRaisesRegex(LookupError, "preparation", self.prepare)
        self.assertEqual(["define", "fetch", "connect", "record"], self.undone)

    def test_failed_step_stops_no_other_but_keeps_the_record(self) -> None:
        self.assertRaisesRegex(LookupError, "preparation", self.prepare, "fetch")
        self.assertEqual(["define", "fetch", "connect"], self.undone)

    def test_steps_are_kept_if_nothing_fails(self) -> None:
        with self.rollback:
            self.rollback.add(self.undo, "connect", False)
        self.assertEqual([], self.undone)
