# SPDX-License-Identifier: Apache-2.0
"""An action is run for several items at once."""

import threading
from unittest import mock

from oslotest import base

from stable_rescue import parallel

TIMEOUT = 60  # seconds


class ForEachTest(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.context = mock.Mock(spec=["update_store"])

    def test_results_have_the_order_of_the_items(self) -> None:
        last_has_ended = threading.Event()

        def run(number: int) -> int:
            if number == 2:
                last_has_ended.set()
            self.assertTrue(last_has_ended.wait(TIMEOUT))
            return number * 10

        self.assertEqual([0, 10, 20], parallel.for_each(self.context, range(3), run, 3))

    def test_each_thread_logs_with_the_id_of_the_request(self) -> None:
        both = threading.Barrier(2, timeout=TIMEOUT)
        parallel.for_each(self.context, range(2), lambda _: both.wait(), 2)
        self.assertEqual(2, self.context.update_store.call_count)

    def test_none_is_started_after_an_error(self) -> None:
        started = []

        def run(number: int) -> None:
            started.append(number)
            if number == 1:
                raise ValueError(number)

        with self.assertRaisesRegex(ValueError, "1"):
            parallel.for_each(self.context, range(9), run, 1)
        self.assertEqual([0, 1], started)

    def test_error_of_the_first_item_propagates_after_all_have_ended(self) -> None:
        second_has_failed, ended = threading.Event(), []

        def run(number: int) -> None:
            if number == 0:
                self.assertTrue(second_has_failed.wait(TIMEOUT))
            ended.append(number)
            second_has_failed.set()
            raise ValueError(number)

        with self.assertRaisesRegex(ValueError, "0"):
            parallel.for_each(self.context, range(2), run, 2)
        self.assertEqual([1, 0], ended)

    def test_nothing_is_done_for_no_items(self) -> None:
        self.assertEqual([], parallel.for_each(self.context, [], self.fail, 4))
