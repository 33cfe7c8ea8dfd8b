# SPDX-License-Identifier: Apache-2.0
"""stable-rescue plan SERVER, with real files and a stub of nova-compute."""

import json
from collections.abc import Callable
from unittest import mock

import ddt

from stable_rescue import plan
from stable_rescue.cmd.exits import NOT_FOUND, REFUSED, UNAVAILABLE, USAGE
from stable_rescue.domain.document import Domain
from stable_rescue.domain.medium import Medium
from stable_rescue.outcome import PlanAnswer
from stable_rescue.storage import requests
from stable_rescue.storage.requests import Request
from tests.unit.cmd.compute import answer, nova_compute
from tests.unit.cmd.host import IMAGE, HostTestCase

SERVER = "6c1f0a52-3a86-4d0b-8e0f-2f3f0b1c9a2a"
FINDING = "not checked: something that would change the server"


@ddt.ddt
class ServerPlanTest(HostTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.options += [f"state_path = {self.folder}", "host = compute1"]
        original = Domain.parse(self.add_server(state=None).original_xml)
        medium = Medium.from_file(f"/instances/{SERVER}/disk.rescue")
        derived = plan.derive(
            original, plan.RescueRequest(bus="usb"), plan.RescueMedia(medium)
        )
        self.planned = derived.to_dict() | {"findings": [FINDING]}

    def planned_output(self, *words: str) -> str:
        """Return what the command prints of the plan that nova-compute makes."""
        with nova_compute(answer(PlanAnswer.PLANNED, self.planned)) as asked:
            text = self.output("plan", *words)
        self.assertEqual([f"plan {SERVER}"], asked)
        self.assertEqual([], list(requests.folder().iterdir()))
        return text

    def test_plan_is_printed_in_each_format(self) -> None:
        table = self.planned_output(SERVER, "--image", IMAGE)
        self.assertIn("Rescue    disk on usb", table)
        self.assertIn(FINDING, table)
        xml = self.planned_output("instance-0000002a", "-f", "xml")
        self.assertEqual(self.planned["rescue"] + "\n", xml)
        content = json.loads(self.planned_output(SERVER, "-f", "json"))
        self.assertEqual(self.planned, {key: content[key] for key in self.planned})
        self.assertEqual("usb", content["rescue_disk"]["bus"])

    def test_request_says_what_the_operator_asks(self) -> None:
        asked = []

        def react(request: Request) -> None:
            requests.take(request)
            asked.append(requests.details_of(request))
            requests.answer(request, PlanAnswer.PLANNED, self.planned)

        words = ["--image", IMAGE.upper(), "--security-info"]
        words += ["--property", "hw_rescue_bus=scsi", "--property", "os_type=linux"]
        with nova_compute(react):
            self.output("plan", SERVER)
            self.output("plan", SERVER, *words)
        self.assertEqual(
            [
                {"image": None, "properties": {}, "secrets": False},
                {
                    "image": IMAGE,
                    "properties": {"hw_rescue_bus": "scsi", "os_type": "linux"},
                    "secrets": True,
                },
            ],
            asked,
        )

    @ddt.data(*PlanAnswer)
    def test_each_answer_has_its_status_and_text(self, result: PlanAnswer) -> None:
        status, text = {
            PlanAnswer.PLANNED: (0, ""),
            PlanAnswer.REFUSED: (REFUSED, "refused: it is too large (OSError: 5)"),
            PlanAnswer.NOT_PLANNED: (NOT_FOUND, "no plan: it is too large"),
            PlanAnswer.BUSY: (UNAVAILABLE, "another operation"),
            PlanAnswer.UNKNOWN: (NOT_FOUND, f"Nova has no server {SERVER}"),
            PlanAnswer.ELSEWHERE: (NOT_FOUND, f"{SERVER} is on another host"),
            PlanAnswer.FAILED: (UNAVAILABLE, "its log has the reason"),
        }[result]
        details = {"reason": "it is too large", "cause": "OSError: 5"}
        if result is PlanAnswer.PLANNED:
            details = self.planned
        with nova_compute(answer(result, details)):
            ended, output, errors = self.run_command("plan", SERVER)
        self.assertEqual(status, ended, errors)
        self.assertIn(text, errors)
        self.assertEqual(status == 0, bool(output))

    def test_refusal_without_a_cause_has_the_reason_alone(self) -> None:
        details = {"reason": "it is too large", "cause": ""}
        with nova_compute(answer(PlanAnswer.REFUSED, details)):
            _status, _output, errors = self.run_command("plan", SERVER)
        self.assertEqual("stable-rescue: refused: it is too large\n", errors)

    def assert_unavailable(
        self, reason: str, react: Callable[[Request], object]
    ) -> None:
        """Assert how the command ends if nova-compute reacts in this way."""
        with nova_compute(react):
            self.assert_fails(UNAVAILABLE, reason, words=("plan", SERVER))

    def test_request_that_nobody_takes_is_withdrawn(self) -> None:
        words = ("plan", SERVER, "--timeout", "1")
        self.assert_fails(UNAVAILABLE, "nothing was done", words=words)
        self.assertEqual([], list(requests.folder().iterdir()))

    def test_plan_that_takes_longer_is_reported(self) -> None:
        withdraw = requests.Question.withdraw

        def take_first(question: requests.Question) -> bool:
            requests.take(question.request)
            return withdraw(question)

        words = ("plan", SERVER, "--timeout", "1")
        with mock.patch.object(requests.Question, "withdraw", take_first):
            self.assert_fails(UNAVAILABLE, "Nothing is changed", words=words)

    def test_restart_of_nova_compute_is_reported(self) -> None:
        def restart(request: Request) -> None:
            requests.take(request)
            requests.begin()

        self.assert_unavailable("was started anew", restart)

    def test_answer_of_a_newer_nova_compute_is_reported(self) -> None:
        self.assert_unavailable("answers postponed", answer("postponed"))

    def test_options_that_do_not_fit_together_are_rejected(self) -> None:
        for reason, words in (
            ("either SERVER or --domain-xml", ()),
            ("either SERVER or --domain-xml", (SERVER, "--domain-xml", "-")),
            ("--medium cannot be used with SERVER", (SERVER, "--medium", "/x")),
            ("--medium-format", (SERVER, "--medium-format", "raw")),
            ("--fallback-bus", (SERVER, "--fallback-bus", "usb")),
            ("--allow-gaps", (SERVER, "--allow-gaps")),
            ("--config-file cannot be used with --domain", ("--domain-xml", "-")),
        ):
            self.assert_fails(USAGE, reason, words=("plan", *words))

    def test_image_that_is_no_id_is_rejected(self) -> None:
        with self.assertRaises(SystemExit) as ended:
            self.run_command("plan", SERVER, "--image", "rescue")
        self.assertEqual(USAGE, ended.exception.code)

    def test_definition_that_was_tampered_with_is_not_trusted(self) -> None:
        self.planned["rescue"] = "<!DOCTYPE x [<!ENTITY y 'z'>]><domain>&y;</domain>"
        with nova_compute(answer(PlanAnswer.PLANNED, self.planned)):
            self.assert_fails(NOT_FOUND, "not accepted", words=("plan", SERVER))
