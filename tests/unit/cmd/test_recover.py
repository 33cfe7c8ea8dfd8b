# SPDX-License-Identifier: Apache-2.0
"""stable-rescue recover, with real files and a stub of nova-compute."""

import json
from collections.abc import Callable
from unittest import mock

import ddt

from stable_rescue.cmd import recover
from stable_rescue.cmd.exits import INTERRUPTED, UNAVAILABLE, USAGE
from stable_rescue.outcome import Answer
from stable_rescue.storage import requests
from stable_rescue.storage.requests import Request
from tests.unit.cmd.compute import answer, nova_compute
from tests.unit.cmd.host import HostTestCase

SERVER = "6c1f0a52-3a86-4d0b-8e0f-2f3f0b1c9a2a"


@ddt.ddt
class RecoverTest(HostTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.options += [f"state_path = {self.folder}", "host = compute1"]
        self.add_server()

    def assert_nothing_is_left(self) -> None:
        self.assertEqual([], list(requests.folder().iterdir()))

    def test_server_is_named_by_uuid_or_in_libvirt(self) -> None:
        for words in ((SERVER,), (SERVER.upper(),), ("instance-0000002a", "--dry-run")):
            with nova_compute(answer(Answer.RESTORED)) as asked:
                text = self.output("recover", "-f", "json", *words)
            (row,) = json.loads(text)["results"]
            self.assertEqual((SERVER, "restored"), (row["server"], row["result"]))
            verb = "dry-run" if "--dry-run" in words else "recover"
            self.assertEqual([f"{verb} {SERVER}"], asked)
            self.assertEqual("would" in row["details"], "--dry-run" in words)
        self.assert_nothing_is_left()

    def test_timeout_that_is_no_number_of_seconds_is_rejected(self) -> None:
        for seconds in ("0", "-1", "1.5", "soon", "86401"):
            with self.assertRaises(SystemExit) as ended:
                self.run_command("recover", SERVER, "--timeout", seconds)
            self.assertEqual(USAGE, ended.exception.code)

    @ddt.data(*Answer)
    def test_each_answer_has_its_status_and_text(self, result: Answer) -> None:
        with nova_compute(answer(result)):
            status, text, errors = self.run_command("recover", SERVER)
        known = {**recover._DONE, **recover._NOT_DONE, **recover.ELSEWHERE}
        self.assertIn(result, known)
        if result in recover.ELSEWHERE:
            self.assertEqual((1, ""), (status, text))
            self.assertIn(SERVER, errors)
        else:
            self.assertEqual(0 if result in recover._DONE else 3, status)
            self.assertIn(f"{SERVER}  {result}", text)

    def test_request_that_nobody_takes_is_withdrawn(self) -> None:
        words = ("recover", SERVER, "--timeout", "1")
        self.assert_fails(UNAVAILABLE, "nothing was done", words=words)
        self.assert_nothing_is_left()

    def take_at_the_last_moment(self, react: Callable[[Request], object]) -> None:
        """Have nova-compute react to a request just before it is withdrawn."""
        withdraw = requests.Question.withdraw

        def react_first(question: requests.Question) -> bool:
            react(question.request)
            return withdraw(question)

        patch = mock.patch.object(requests.Question, "withdraw", react_first)
        patch.start()
        self.addCleanup(patch.stop)

    def test_recovery_that_takes_longer_goes_on(self) -> None:
        self.take_at_the_last_moment(requests.take)
        words = ("recover", SERVER, "--timeout", "1")
        self.assert_fails(UNAVAILABLE, "the recovery goes on", words=words)
        self.assert_nothing_is_left()

    def test_request_taken_at_the_last_moment_is_not_withdrawn(self) -> None:
        self.take_at_the_last_moment(answer(Answer.RESTORED))
        self.assertIn("restored", self.output("recover", SERVER, "--timeout", "1"))

    def test_restart_of_nova_compute_is_reported(self) -> None:
        def restart(request: Request) -> None:
            requests.take(request)
            requests.begin()

        with nova_compute(restart):
            self.assert_fails(
                UNAVAILABLE, "was started anew", words=("recover", SERVER)
            )

    def test_answer_of_a_newer_nova_compute_is_reported(self) -> None:
        with nova_compute(answer("quarantined")):
            self.assert_fails(
                UNAVAILABLE, "answers quarantined", words=("recover", SERVER)
            )

    def test_request_that_was_removed_is_reported(self) -> None:
        def remove(request: Request) -> None:
            (requests.folder() / request.named(request.asked)).unlink()

        with nova_compute(remove):
            self.assert_fails(UNAVAILABLE, "removed", words=("recover", SERVER))

    def test_interrupted_command_leaves_no_request(self) -> None:
        with mock.patch("time.sleep", side_effect=KeyboardInterrupt):
            self.assert_fails(INTERRUPTED, "interrupted", words=("recover", SERVER))
        self.assert_nothing_is_left()

    def test_unknown_name_is_not_asked_for(self) -> None:
        with nova_compute(answer(Answer.RESTORED)) as asked:
            self.assert_fails(1, "libvirt has no server x", words=("recover", "x"))
        self.assertEqual([], asked)

    def test_folder_that_others_may_change_is_reported(self) -> None:
        folder = self.folder / "stable-rescue-requests-compute1"
        folder.mkdir()
        folder.chmod(0o777)
        self.assert_fails(UNAVAILABLE, "must belong to", words=("recover", SERVER))
