# SPDX-License-Identifier: Apache-2.0
"""Which servers are in a task that nobody is at work on."""

from oslotest import base

from stable_rescue.compute.watch import Watch


class WatchTest(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.now = 1000.0
        self.watch = Watch(lambda: self.now)

    def abandoned_after(self, seconds: float, *in_task: str) -> set[str]:
        self.now += seconds
        return set(self.watch.abandoned(in_task, 60))

    def test_one_that_waits_too_long_is_named(self) -> None:
        self.assertEqual(set(), self.abandoned_after(0, "a", "b"))
        self.assertEqual(set(), self.abandoned_after(59, "a", "b"))
        self.assertEqual({"a", "b"}, self.abandoned_after(1, "a", "b"))

    def test_and_again_after_as_long_a_time(self) -> None:
        self.abandoned_after(0, "a")
        self.abandoned_after(60, "a")
        self.assertEqual(set(), self.abandoned_after(30, "a"))
        self.assertEqual(set(), self.abandoned_after(30, "a"))
        self.assertEqual({"a"}, self.abandoned_after(30, "a"))

    def test_one_that_is_worked_on_is_not(self) -> None:
        self.abandoned_after(0, "a")
        with self.watch.at_work("a"):
            self.assertEqual(set(), self.abandoned_after(100, "a"))
        self.assertEqual(set(), self.abandoned_after(1, "a"))
        self.assertEqual({"a"}, self.abandoned_after(60, "a"))

    def test_nor_one_that_two_are_at_work_on_when_one_of_them_ends(self) -> None:
        with self.watch.at_work("a"):
            with self.watch.at_work("a"):
                self.abandoned_after(0, "a")
            self.assertEqual(set(), self.abandoned_after(100, "a"))

    def test_one_whose_task_ended_meanwhile_begins_anew(self) -> None:
        self.abandoned_after(0, "a")
        self.abandoned_after(30)
        self.assertEqual(set(), self.abandoned_after(30, "a"))

    def test_a_look_is_due_once_in_a_while(self) -> None:
        self.assertTrue(self.watch.is_due(30))
        self.now += 29
        self.assertFalse(self.watch.is_due(30))
        self.now += 1
        self.assertTrue(self.watch.is_due(30))
        self.assertFalse(self.watch.is_due(30))
