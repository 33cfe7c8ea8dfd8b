# SPDX-License-Identifier: Apache-2.0
"""Requests of a command to nova-compute, as files in a folder."""

import errno
import os
import socket
import stat
import unittest
from pathlib import Path
from unittest import mock

import fixtures
from nova import conf as nova_conf
from oslotest import base

from stable_rescue.storage import requests
from stable_rescue.storage.requests import (
    DRY_RUN,
    PLAN,
    RECOVER,
    RESTARTED,
    TAKEN,
    Question,
)

CONF = nova_conf.CONF
SERVER = "6c1f0a52-3a86-4d0b-8e0f-2f3f0b1c9a2a"
OTHER = "b84c3f6e-9e0a-4a51-8d3c-51f3e2a76d2c"
NOBODY = 65534  # the user id
FULL = OSError(errno.ENOSPC, "No space left on device")


class RequestsTest(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.state_path = Path(self.useFixture(fixtures.TempDir()).path)
        CONF.set_override("state_path", str(self.state_path))
        CONF.set_override("host", "compute1")
        self.addCleanup(CONF.clear_override, "state_path")
        self.addCleanup(CONF.clear_override, "host")

    def names(self) -> list[str]:
        """Return the names of the files in the folder."""
        return sorted(path.name for path in requests.folder().iterdir())

    def test_request_is_taken_and_answered(self) -> None:
        with Question.ask(SERVER, RECOVER) as question:
            self.assertEqual(RECOVER, question.state())
            self.assertEqual([question.request], requests.waiting())
            self.assertTrue(requests.take(question.request))
            self.assertEqual((TAKEN, []), (question.state(), requests.waiting()))
            self.assertFalse(question.withdraw())
            requests.answer(question.request, "restored")
            self.assertEqual("restored", question.state())
        self.assertEqual([], self.names())

    def test_details_of_request_and_answer_are_passed_on(self) -> None:
        asked, answered = {"image": "an image" * 999}, {"plan": "short"}
        with Question.ask(SERVER, PLAN, asked) as question:
            self.assertEqual([question.request], requests.waiting())
            self.assertTrue(requests.take(question.request))
            self.assertEqual(asked, requests.details_of(question.request))
            requests.answer(question.request, "planned", answered)
            self.assertEqual("planned", question.state())
            self.assertEqual(answered, question.details())
        self.assertEqual([], self.names())

    def test_request_without_details_has_none(self) -> None:
        with Question.ask(SERVER, RECOVER) as question:
            requests.take(question.request)
            self.assertEqual({}, requests.details_of(question.request))
            requests.answer(question.request, "restored")
            self.assertEqual({}, question.details())

    def test_request_whose_details_are_missing_is_not_seen(self) -> None:
        seen = []

        def look(_descriptor: int, _details: object) -> None:
            seen.extend([requests.waiting(), self.names()])

        with (
            mock.patch.object(requests, "_write", look),
            Question.ask(SERVER, PLAN, {}) as question,
        ):
            self.assertEqual([[], [question.request.named("new")]], seen)
            self.assertEqual([question.request], requests.waiting())

    def test_details_that_are_no_object_are_rejected(self) -> None:
        for text in ("{", "[]", "\N{SNOWMAN}"):
            with Question.ask(SERVER, PLAN, {}) as question:
                requests.take(question.request)
                path = requests.folder() / question.request.named(TAKEN)
                path.write_text(text)
                self.assertRaises(ValueError, requests.details_of, question.request)

    def test_details_that_are_too_long_are_rejected(self) -> None:
        with Question.ask(SERVER, PLAN, {"image": "x" * 2**20}) as question:
            requests.take(question.request)
            self.assertRaises(ValueError, requests.details_of, question.request)

    def test_full_disk_leaves_no_request_with_details(self) -> None:
        with (
            mock.patch("os.pwrite", side_effect=FULL),
            self.assertRaisesRegex(OSError, "No space left.*requests-compute1"),
            Question.ask(SERVER, PLAN, {}),
        ):
            self.fail("the request was made")
        self.assertEqual([], self.names())

    def test_full_disk_stops_an_answer_with_details_only(self) -> None:
        with Question.ask(SERVER, PLAN, {}) as question:
            requests.take(question.request)
            with mock.patch("os.pwrite", side_effect=FULL):
                self.assertRaises(
                    OSError, requests.answer, question.request, "planned", {}
                )
            self.assertEqual(TAKEN, question.state())
            requests.answer(question.request, "failed")
            self.assertEqual("failed", question.state())

    def test_details_are_written_for_nobody_who_has_ended(self) -> None:
        with Question.ask(SERVER, PLAN, {}) as question:
            requests.take(question.request)
            name = question.request.named(TAKEN)
        (requests.folder() / name).touch()
        with mock.patch.object(requests, "_write") as write:
            requests.answer(question.request, "planned", {"xml": "a secret"})
        write.assert_not_called()
        self.assertEqual([], self.names())

    def test_two_requests_for_a_server_are_independent(self) -> None:
        with (
            Question.ask(SERVER, RECOVER) as first,
            Question.ask(SERVER, DRY_RUN) as second,
        ):
            self.assertCountEqual([first.request, second.request], requests.waiting())
            self.assertTrue(requests.take(first.request))
            self.assertEqual((TAKEN, DRY_RUN), (first.state(), second.state()))

    def test_withdrawn_request_cannot_be_taken(self) -> None:
        with Question.ask(SERVER, RECOVER) as question:
            self.assertTrue(question.withdraw())
            self.assertFalse(requests.take(question.request))
            self.assertIsNone(question.state())

    def test_request_that_nobody_waits_for_is_removed(self) -> None:
        """The command was killed: the kernel has released its lock."""
        with Question.ask(SERVER, RECOVER) as question:
            names = [question.request.named(each) for each in (RECOVER, TAKEN, "busy")]
        for name in names:
            (requests.folder() / name).touch()
        self.assertEqual([], requests.waiting())
        self.assertEqual([], self.names())

    def test_answer_to_a_command_that_has_ended_leaves_nothing(self) -> None:
        with Question.ask(SERVER, RECOVER) as question:
            requests.take(question.request)
        requests.answer(question.request, "restored")
        self.assertEqual([], self.names())

    def test_restart_answers_what_was_taken_and_keeps_the_rest(self) -> None:
        with (
            Question.ask(SERVER, RECOVER) as taken,
            Question.ask(OTHER, RECOVER) as other,
        ):
            requests.take(taken.request)
            requests.begin()
            self.assertEqual((RESTARTED, RECOVER), (taken.state(), other.state()))
            # The killed nova-compute had another answer, which comes too late.
            requests.answer(taken.request, "restored")
            self.assertEqual(RESTARTED, taken.state())

    def test_request_for_another_host_is_not_seen(self) -> None:
        """Hosts may share state_path."""
        with Question.ask(SERVER, RECOVER) as question:
            CONF.set_override("host", "compute2")
            self.assertEqual([], requests.waiting())
            requests.begin()
            self.assertEqual(RECOVER, question.state())

    def test_folder_is_made_at_the_start_of_nova_compute(self) -> None:
        self.assertEqual([], requests.waiting())
        CONF.set_override("pybasedir", str(self.state_path))
        self.addCleanup(CONF.clear_override, "pybasedir")
        requests.begin()
        self.assertFalse(requests.folder().exists())
        CONF.clear_override("pybasedir")
        requests.begin()
        self.assertEqual([], self.names())

    def test_folder_and_file_are_for_their_owner_alone(self) -> None:
        with Question.ask(SERVER, RECOVER):
            (file,) = requests.folder().iterdir()
            modes = [stat.S_IMODE(p.stat().st_mode) for p in (file.parent, file)]
        self.assertEqual([0o700, 0o600], modes)

    def test_folder_that_others_may_change_is_not_used(self) -> None:
        requests.folder().mkdir()
        requests.folder().chmod(0o770)
        self.assert_not_usable("must belong to")

    def test_folder_that_is_a_symlink_is_not_used(self) -> None:
        elsewhere = self.state_path / "elsewhere"
        elsewhere.mkdir(mode=0o700)
        requests.folder().symlink_to(elsewhere)
        self.assert_not_usable("Not a directory")
        self.assertEqual([], list(elsewhere.iterdir()))

    def assert_not_usable(self, reason: str) -> None:
        """Assert that neither a command nor nova-compute uses the folder."""
        with self.assertRaisesRegex(OSError, reason), Question.ask(SERVER, RECOVER):
            self.fail("the request was made")
        self.assertRaisesRegex(OSError, reason, requests.waiting)
        self.assertRaisesRegex(OSError, reason, requests.begin)

    def test_foreign_files_are_neither_followed_nor_carried_out(self) -> None:
        with Question.ask(SERVER, RECOVER) as question:
            name = question.request.named(RECOVER)
        target = self.state_path / "target"
        target.write_text("kept")
        (requests.folder() / name).symlink_to(target)
        os.mkfifo(requests.folder() / name.replace(SERVER, OTHER))
        with socket.socket(socket.AF_UNIX) as listener:
            descriptor = os.open(requests.folder(), os.O_RDONLY)
            self.addCleanup(os.close, descriptor)
            listener.bind(f"/proc/self/fd/{descriptor}/{name.replace('6c', '7d')}")
        (requests.folder() / name.replace("6c", "8e")).mkdir()
        (requests.folder() / "README").touch()
        self.assertEqual([], requests.waiting())
        self.assertEqual("kept", target.read_text())
        self.assertEqual([name.replace("6c", "8e"), "README"], self.names())

    def test_file_removed_before_it_is_locked_is_made_again(self) -> None:
        real = os.open
        removed = []

        def remove_first(path: str, flags: int, *args: int, **options: int) -> int:
            descriptor = real(path, flags, *args, **options)
            if flags & os.O_CREAT and not removed:
                removed.append(path)
                self.assertEqual([], requests.waiting())
            return descriptor

        with (
            mock.patch("os.open", remove_first),
            Question.ask(SERVER, RECOVER) as question,
        ):
            self.assertEqual(RECOVER, question.state())
            self.assertEqual([question.request], requests.waiting())
        self.assertEqual(1, len(removed))

    @unittest.skipUnless(os.geteuid() == 0, "only root gives files away")
    def test_what_root_makes_belongs_to_the_owner_of_state_path(self) -> None:
        os.chown(self.state_path, NOBODY, NOBODY)
        with Question.ask(SERVER, RECOVER) as question:
            (file,) = requests.folder().iterdir()
            owners = {path.stat().st_uid for path in (file, file.parent)}
            self.assertEqual([question.request], requests.waiting())
        self.assertEqual({NOBODY}, owners)
