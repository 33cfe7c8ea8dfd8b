# SPDX-License-Identifier: Apache-2.0
"""Chaos: the schedule, the judge, the report, and the disks that are marked."""

import dataclasses
from collections import Counter
from pathlib import Path

from oslotest import base

from lab.chaos import report
from lab.chaos.judge import Outcome, Verdict, View, extra_resources, judge
from lab.chaos.operator import Call, exactly
from lab.chaos.report import Entry
from lab.chaos.schedule import PAUSE_SECONDS, schedule
from lab.errors import LabError
from lab.servers.disks import Disk, disks_of
from lab.services import victims

SERVERS = ("image", "volume", "stopped")
ORIGINAL = View(
    status="ACTIVE",
    task_state=None,
    definition="<domain>\n <name>a</name>\n</domain>",
    running=True,
    rescued=False,
    process="10",
    files=frozenset({"disk", "disk.config"}),
    attachments=frozenset({"a1 of volume v1 attached"}),
)
RESCUE_FILES = {
    "disk.rescue",
    "disk.config.rescue",
    "stable_rescue.json",
    "unrescue.xml",
}
RESCUED = dataclasses.replace(
    ORIGINAL,
    status="RESCUE",
    definition="<domain>another</domain>",
    rescued=True,
    process="11",
    files=ORIGINAL.files | RESCUE_FILES,
)
NOTHING: frozenset[str] = frozenset()


def judged(
    now: View, before: View = ORIGINAL, extra: frozenset[str] = NOTHING
) -> Verdict:
    return judge(ORIGINAL, before, now, extra)


class ScheduleTest(base.BaseTestCase):
    def test_schedule_follows_from_the_seed(self) -> None:
        names = tuple(victims.VICTIMS)
        self.assertEqual(
            schedule(1, 50, SERVERS, names), schedule(1, 50, SERVERS, names)
        )
        self.assertNotEqual(
            schedule(1, 50, SERVERS, names), schedule(2, 50, SERVERS, names)
        )

    def test_schedule_of_fewer_runs_is_the_beginning_of_more(self) -> None:
        names = tuple(victims.VICTIMS)
        self.assertEqual(
            schedule(1, 10, SERVERS, names), schedule(1, 50, SERVERS, names)[:10]
        )

    def test_schedule_takes_victims_and_servers_in_turn(self) -> None:
        runs = schedule(7, 42, SERVERS, tuple(victims.VICTIMS))
        self.assertEqual({6}, set(Counter(run.victim for run in runs).values()))
        self.assertEqual({14}, set(Counter(run.server for run in runs).values()))

    def test_schedule_moments_are_shares_and_pauses_are_bounded(self) -> None:
        low, high = PAUSE_SECONDS
        for run in schedule(3, 200, SERVERS, tuple(victims.VICTIMS)):
            self.assertTrue(0 <= run.moment < 1, run)
            self.assertTrue(low <= run.pause <= high, run)

    def test_victims_unknown_or_none_are_refused(self) -> None:
        self.assertEqual(["glance", "mariadb"], victims.chosen("glance,mariadb"))
        error = self.assertRaises(LabError, victims.chosen, "glance,keystone")
        self.assertIn("victim keystone; choose from nova-compute, ", str(error))
        self.assertRaises(LabError, victims.chosen, "")


class JudgeTest(base.BaseTestCase):
    def test_judge_same_process_is_untouched(self) -> None:
        self.assertEqual(Verdict(Outcome.UNTOUCHED), judged(ORIGINAL))

    def test_judge_another_process_is_restored_or_unrescued(self) -> None:
        now = dataclasses.replace(ORIGINAL, process="12")
        self.assertEqual(Verdict(Outcome.RESTORED), judged(now))
        self.assertEqual(Verdict(Outcome.UNRESCUED), judged(now, before=RESCUED))

    def test_judge_status_rescue_is_rescued_or_kept(self) -> None:
        self.assertEqual(Verdict(Outcome.RESCUED), judged(RESCUED))
        self.assertEqual(Verdict(Outcome.KEPT), judged(RESCUED, before=RESCUED))

    def assert_lost(self, now: View, fault: str) -> None:
        verdict = judged(now)
        self.assertEqual(Outcome.LOST, verdict.outcome)
        self.assertIn(fault, "\n".join(verdict.faults))

    def test_judge_task_that_does_not_end_is_lost(self) -> None:
        now = dataclasses.replace(ORIGINAL, task_state="rescuing")
        self.assert_lost(now, "status ACTIVE, task state rescuing")

    def test_judge_status_error_is_lost(self) -> None:
        self.assert_lost(dataclasses.replace(ORIGINAL, status="ERROR"), "status ERROR")

    def test_judge_guest_that_is_off_is_lost(self) -> None:
        self.assert_lost(
            dataclasses.replace(ORIGINAL, status="SHUTOFF", running=False), "SHUTOFF"
        )
        self.assert_lost(
            dataclasses.replace(ORIGINAL, running=False),
            "the guest is off, but originally it runs",
        )

    def test_judge_changed_definition_is_lost(self) -> None:
        now = dataclasses.replace(
            ORIGINAL, definition=ORIGINAL.definition.replace("<name>a", "<name>b")
        )
        self.assert_lost(now, "+ <name>b</name>")

    def test_judge_active_with_rescue_definition_is_lost(self) -> None:
        self.assert_lost(
            dataclasses.replace(ORIGINAL, rescued=True), "has a rescue definition"
        )

    def test_judge_rescue_system_that_is_off_is_lost(self) -> None:
        self.assert_lost(dataclasses.replace(RESCUED, running=False), "does not run")
        self.assert_lost(dataclasses.replace(RESCUED, rescued=False), "does not run")

    def test_judge_missing_mark_attachment_or_file_is_lost(self) -> None:
        for view in (ORIGINAL, RESCUED):
            damaged = dataclasses.replace(view, damaged=("vdd",))
            self.assert_lost(damaged, "the mark on vdd is missing")
            detached = dataclasses.replace(view, attachments=NOTHING)
            self.assert_lost(detached, "a1 of volume v1 attached")
            removed = dataclasses.replace(view, files=view.files - {"disk.config"})
            self.assert_lost(removed, "files are missing: disk.config")

    def test_judge_rescue_files_after_unrescue_are_leftovers(self) -> None:
        now = dataclasses.replace(ORIGINAL, files=ORIGINAL.files | {"disk.rescue"})
        verdict = judged(now, before=RESCUED)
        self.assertEqual(("file disk.rescue",), verdict.leftovers)
        self.assertEqual(Outcome.UNRESCUED, verdict.outcome)

    def test_judge_unfinished_files_in_rescue_are_leftovers(self) -> None:
        for name in (".stable_rescue.json.new", "disk.rescue.part"):
            now = dataclasses.replace(RESCUED, files=RESCUED.files | {name})
            self.assertEqual((f"file {name}",), judged(now).leftovers)

    def test_judge_new_resources_of_the_host_are_leftovers(self) -> None:
        left = judged(ORIGINAL, extra=frozenset({"loop device /dev/loop7"})).leftovers
        self.assertEqual(("loop device /dev/loop7",), left)

    def test_extra_resources_exclude_those_of_a_rescue_in_progress(self) -> None:
        before = frozenset({"secret s1"})
        now = before | {
            "pool image vms/u1_disk.rescue",
            "pool image vms/u2_disk.rescue",
        }
        self.assertEqual(
            {"pool image vms/u2_disk.rescue"},
            extra_resources(before, now, frozenset({"u1"})),
        )


class ReportTest(base.BaseTestCase):
    ENTRIES = (
        Entry("libvirtd", "rescue, beginning", Verdict(Outcome.RESTORED), 3.0),
        Entry("libvirtd", "rescue, beginning", Verdict(Outcome.RESCUED), 2.0),
        Entry("glance", "rescue, preparing", Verdict(Outcome.LOST, ("gone",)), 9.5),
        Entry(
            "glance",
            "rescue, preparing",
            Verdict(Outcome.UNTOUCHED, (), ("file x", "file y")),
            1.0,
        ),
    )

    def test_report_counts_lost_servers_and_leftovers(self) -> None:
        self.assertEqual(1, report.lost(self.ENTRIES))
        self.assertEqual(2, report.leftovers(self.ENTRIES))

    def test_report_has_a_row_for_each_victim_and_phase(self) -> None:
        rows = [self.cells(line) for line in report.lines(self.ENTRIES)]
        self.assertEqual(
            "victim, phase, runs, outcomes, lost, leftovers, seconds",
            ", ".join(rows[0]),
        )
        self.assertEqual(
            ["glance", "rescue, preparing", "2", "1 lost, 1 untouched"], rows[1][:4]
        )
        self.assertEqual(["1", "2", "1.0 to 9.5"], rows[1][4:])
        self.assertEqual(
            ["libvirtd", "rescue, beginning", "2", "1 rescued, 1 restored"],
            rows[2][:4],
        )
        self.assertEqual(["0", "0", "2.0 to 3.0"], rows[2][4:])

    def test_report_ends_with_a_row_for_all(self) -> None:
        last = list(report.lines(self.ENTRIES))[-1]
        self.assertEqual("all", self.cells(last)[0])
        self.assertEqual(["1", "2", "1.0 to 9.5"], self.cells(last)[-3:])

    @staticmethod
    def cells(line: str) -> list[str]:
        return [cell.strip() for cell in line.split("  ") if cell.strip()]


DEFINITION = """
<domain type='qemu'><devices>
  <disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
    <source file='/i/disk'/><target dev='vda' bus='virtio'/></disk>
  <disk type='network' device='disk'><driver name='qemu' type='raw'/>
    <auth username='cinder'><secret type='ceph' uuid='s'/></auth>
    <source protocol='rbd' name='volumes/v'><host name='h' port='6789'/></source>
    <target dev='vdb' bus='virtio'/></disk>
  <disk type='block' device='disk'><driver name='qemu' type='raw'/>
    <source dev='/dev/storpool-byid/1'/><target dev='vdc' bus='virtio'/></disk>
  <disk type='file' device='cdrom'><driver name='qemu' type='raw'/>
    <source file='/i/disk.config'/><target dev='sda' bus='sata'/><readonly/></disk>
  <disk type='file' device='cdrom'><target dev='sdb' bus='sata'/></disk>
</devices></domain>
"""


class DisksTest(base.BaseTestCase):
    def test_disks_of_a_definition_are_named_for_qemu_io(self) -> None:
        self.assertEqual(
            [
                Disk("vda", "qcow2", "/i/disk", True),
                Disk("vdb", "raw", "rbd:volumes/v:id=cinder", True),
                Disk("vdc", "raw", "/dev/storpool-byid/1", True),
                Disk("sda", "raw", "/i/disk.config", False),
            ],
            disks_of(DEFINITION),
        )


class CallTest(base.BaseTestCase):
    """What the manual promises about the end of a command."""

    def assert_fault(self, part: str, call: Call) -> None:
        """Assert that a call has one fault."""
        (fault,) = call.faults()
        self.assertIn(part, fault)

    def test_documented_ends_have_no_fault(self) -> None:
        for call in (
            Call("list", 0, "{}", "a note"),
            Call("verify", 3, "{}", ""),
            Call("show", 1, "", "server x is not in a rescue on this host"),
            Call("recover", 69, "", "nova-compute does not answer"),
        ):
            self.assertEqual([], list(call.faults()), call)

    def test_every_other_end_is_a_fault(self) -> None:
        self.assert_fault("status 70", Call("list", 70, "", "a bug"))
        self.assert_fault("status 2", Call("show", 2, "", "refused"))
        self.assert_fault("no end within", Call("plan", None, "", ""))
        self.assert_fault("a traceback", Call("list", 0, "{}", "Traceback (most"))
        self.assert_fault("no JSON", Call("clean", 0, "", ""))
        self.assert_fault("without a reason", Call("clean", 69, "", ""))
        self.assert_fault("with output", Call("clean", 69, "{}", "a reason"))

    def test_leftovers_are_compared_exactly(self) -> None:
        listed = [{"leftover": "/i/u/a"}, {"leftover": "/i/u/b"}]
        self.assertTrue(exactly(listed, Path("/i/u"), {"b", "a"}))
        self.assertFalse(exactly(listed, Path("/i/u"), {"a"}))
        self.assertFalse(exactly(listed, Path("/i/u"), {"a", "b", "c"}))
        self.assertFalse(exactly(listed * 2, Path("/i/u"), {"a", "b"}))
