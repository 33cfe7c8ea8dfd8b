# SPDX-License-Identifier: Apache-2.0
"""Which instances are in a task that nobody works on."""

from oslotest import base

from stable_rescue.compute.watch import Watch


class WatchTest(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.now = 1000.0
        self.watch = Watch(lambda: self.now)

    def stalled_after(self, seconds: float, *in_task: str) -> set[str]:
        self.now += seconds
        return set(self.watch.stalled(in_task, 60))

    def test_instance_that_nobody_works_on_is_stalled(self) -> None:
        self.assertEqual(set(), self.stalled_after(0, "a", "b"))
        self.assertEqual(set(), self.stalled_after(59, "a", "b"))
        self.assertEqual({"a", "b"}, self.stalled_after(1, "a", "b"))

    def test_stalled_instance_is_stalled_again_after_the_same_time(self) -> None:
        self.stalled_after(0, "a")
        self.stalled_after(60, "a")
        self.assertEqual(set(), self.stalled_after(30, "a"))
        self.assertEqual(set(), self.stalled_after(30, "a"))
        self.assertEqual({"a"}, self.stalled_after(30, "a"))

    def test_instance_is_not_stalled_while_worked_on(self) -> None:
        self.stalled_after(0, "a")
        with self.watch.working_on("a"):
            self.assertEqual(set(), self.stalled_after(100, "a"))
        self.assertEqual(set(), self.stalled_after(1, "a"))
        self.assertEqual({"a"}, self.stalled_after(60, "a"))

    def test_worked_on_until_the_last_worker_ends(self) -> None:
        with self.watch.working_on("a"):
            with self.watch.working_on("a"):
                self.assertTrue(self.watch.is_worked_on("a"))
            self.assertTrue(self.watch.is_worked_on("a"))
            self.assertFalse(self.watch.is_worked_on("b"))
        self.assertFalse(self.watch.is_worked_on("a"))

    def test_instance_with_one_of_two_workers_left_is_not_stalled(self) -> None:
        with self.watch.working_on("a"):
            with self.watch.working_on("a"):
                self.stalled_after(0, "a")
            self.assertEqual(set(), self.stalled_after(100, "a"))

    def test_time_starts_anew_if_the_task_ended_meanwhile(self) -> None:
        self.stalled_after(0, "a")
        self.stalled_after(30)
        self.assertEqual(set(), self.stalled_after(30, "a"))

    def test_check_is_due_once_per_interval(self) -> None:
        self.assertTrue(self.watch.is_due(30))
        self.now += 29
        self.assertFalse(self.watch.is_due(30))
        self.now += 1
        self.assertTrue(self.watch.is_due(30))
        self.assertFalse(self.watch.is_due(30))
