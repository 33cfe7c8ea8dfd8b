# SPDX-License-Identifier: Apache-2.0
"""Guests are exchanged a few at a time."""

import threading
from unittest import mock

from oslo_utils.fixture import uuidsentinel as uuids
from oslotest import base

from stable_rescue.virt import turns

TIMEOUT = 60  # seconds


class TurnTest(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.instance = mock.Mock(uuid=uuids.instance)
        self.turns = threading.BoundedSemaphore(1)
        patcher = mock.patch.object(turns, "_turns", self.turns)
        patcher.start()
        self.addCleanup(patcher.stop)

    def begin_another(self) -> tuple[threading.Thread, threading.Event]:
        """Begin a turn in a thread; return the thread, and whether it has its turn."""
        has_turn = threading.Event()

        def take_turn() -> None:
            with turns.turn(self.instance):
                has_turn.set()

        thread = threading.Thread(target=take_turn, daemon=True)
        thread.start()
        return thread, has_turn

    def test_next_turn_begins_when_the_one_before_ends(self) -> None:
        with mock.patch.object(turns, "_WAIT_SECONDS", TIMEOUT):
            with turns.turn(self.instance):
                thread, has_turn = self.begin_another()
                self.assertFalse(has_turn.wait(0.1))
            self.assertTrue(has_turn.wait(TIMEOUT))
            thread.join(TIMEOUT)
        self.assertTrue(self.turns.acquire(blocking=False))

    def test_server_that_has_waited_too_long_goes_on(self) -> None:
        with (
            mock.patch.object(turns, "_WAIT_SECONDS", 0.01),
            mock.patch.object(turns, "_LOGGED_SECONDS", 0),
            turns.turn(self.instance),
            self.assertLogs("stable_rescue", "INFO") as logged,
        ):
            thread, has_turn = self.begin_another()
            self.assertTrue(has_turn.wait(TIMEOUT))
            thread.join(TIMEOUT)
            # The end of this block does not end the turn of another server.
            self.assertFalse(self.turns.acquire(blocking=False))
        self.assertIn("while others were exchanged", logged.output[0])

    def test_error_ends_the_turn(self) -> None:
        def fail() -> None:
            with turns.turn(self.instance):
                raise ValueError

        self.assertRaises(ValueError, fail)
        self.assertTrue(self.turns.acquire(blocking=False))
