# SPDX-License-Identifier: Apache-2.0
"""The manual shows what the commands print on a host with these rescues."""

import dataclasses
import datetime
import re
import shlex

import fixtures

from stable_rescue import plan
from stable_rescue.domain.document import Domain
from stable_rescue.domain.medium import Medium
from stable_rescue.outcome import Answer, PlanAnswer
from stable_rescue.storage.record import Record, State
from stable_rescue.virt import planning
from tests.unit.cmd import host, screens
from tests.unit.cmd.compute import answer, nova_compute
from tests.unit.cmd.conductor import HERE, Conductor
from tests.unit.cmd.host import HostTestCase
from tests.unit.cmd.test_report import RESCUE_SHA256, write_report

PAGE = host.ROOT / "doc" / "source" / "cli.rst"
DELETED = "a3f1c2d4-5b6e-4789-8abc-def012345678"
# Requests and bytes read, requests and bytes written, errors.
COUNTERS = (191, 10_685_440, 0, 0, -1)
DAY = datetime.datetime(2026, 1, 15)
# What nova-compute notes in the report of a rescue.
REPORT_LOG = [
    {
        "time": "2026-01-15T22:41:07Z",
        "what": "started",
        "definition_sha256": RESCUE_SHA256,
    },
    {"time": "2026-01-15T22:41:09Z", "what": "boot verified", "result": "booted"},
]
# Nova's default, in place of the test's folder.
INSTANCES = "/var/lib/nova/instances"


class ScreensTest(HostTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.options += ["rescue_timeout = 86400", f"state_path = {self.folder}"]
        record = self.add_server()
        rescued_at = DAY.replace(hour=22, minute=41, second=7, microsecond=430_000)
        launched_at = DAY.replace(day=2)
        self.save(
            dataclasses.replace(record, rescued_at=rescued_at, launched_at=launched_at)
        )
        self.set_times(record, rescued_at)
        self.planned = self.plan_of(record)
        write_report(self.folder, record, REPORT_LOG)
        record = self.add_server("pc-scsi", State.PREPARING)
        path = self.directory(record) / "stable_rescue.json"
        host.set_time(path, DAY.replace(day=16, hour=3, minute=2, second=55))

        # libvirt's test driver invents the counters; these were read from the guest of
        # tests/integration/test_commands.py.
        self.useFixture(
            fixtures.MockPatch("libvirt.virDomain.blockStats", return_value=COUNTERS)
        )
        self.useFixture(
            fixtures.MockPatch(
                "stable_rescue.cmd.verify._path_problem", return_value=""
            )
        )
        self.delete_server()

    def plan_of(self, record: Record) -> plan.RescuePlan:
        """Return the plan of a rescue, with the findings of nova-compute."""
        planned = plan.derive(
            Domain.parse(record.original_xml),
            plan.RescueRequest(bus="usb"),
            plan.RescueMedia(
                Medium.from_file(str(self.directory(record) / "disk.rescue"))
            ),
        )
        findings = (planning.NOT_FETCHED, planning.NOT_TRIED)
        return dataclasses.replace(planned, findings=findings)

    def set_times(self, record: Record, rescued_at: datetime.datetime) -> None:
        """Set when the files of a rescue were changed."""
        for name, seconds in (
            ("disk.rescue", 0),
            ("stable_rescue.json", 0),
            ("unrescue.xml", -0.87),
        ):
            changed = rescued_at + datetime.timedelta(seconds=seconds)
            host.set_time(self.directory(record) / name, changed)

    def delete_server(self) -> None:
        """Leave files of a server that Nova has deleted."""
        directory = self.instances / DELETED
        directory.mkdir()
        for name, size in (
            ("disk.rescue", 15 * host.MIB),
            ("stable_rescue.json", 9_876),
        ):
            with (directory / name).open("wb") as file:
                file.truncate(size)
        self.options.append(f"host = {HERE}")
        self.useFixture(Conductor()).set_server(DELETED, deleted=True)

    def test_screens_of_the_manual_are_real(self) -> None:
        blocks = re.findall(
            r"(?m)^    \$ stable-rescue (.*)\n((?:    .*\n|\n)+)", PAGE.read_text()
        )
        commands = [command.partition(" ")[0] for command, _block in blocks]
        self.assertEqual(
            ["list", "show", "verify", "report", "recover", "clean", "plan"], commands
        )
        for command, block in blocks:
            reaction = answer(Answer.RESTORED)
            if command.startswith("plan"):
                reaction = answer(PlanAnswer.PLANNED, self.planned.to_dict())
            with nova_compute(reaction):
                _status, output, errors = self.run_command(*shlex.split(command))
            self.assertEqual("", errors)
            printed = output.replace(str(self.instances), INSTANCES)
            shown = screens.lines_of(block)
            self.assertEqual(
                ("", ""),
                screens.difference(_without_sizes(shown), _without_sizes(printed)),
            )


def _without_sizes(text: str) -> str:
    """Return a text without the sizes of files that have the path of the test."""
    return re.sub(r"((?:unrescue.xml|stable_rescue.json) +)\S+ KiB", r"\1 SIZE", text)
