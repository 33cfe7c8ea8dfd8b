# SPDX-License-Identifier: Apache-2.0
"""Chaos: the schedule under a seed, the judge, and the report."""

import dataclasses
from collections import Counter

from oslotest import base

from lab.chaos import report, victims
from lab.chaos.disks import Disk, disks_of
from lab.chaos.judge import Outcome, Verdict, View, extra_things, judge
from lab.chaos.report import Entry
from lab.chaos.schedule import PAUSE_SECONDS, schedule
from lab.errors import LabError

SERVERS = ("image", "volume", "stopped")
ITSELF = View(
    status="ACTIVE",
    task_state=None,
    definition="<domain>\n <name>a</name>\n</domain>",
    running=True,
    rescued=False,
    process="10",
    files=frozenset({"disk", "disk.config"}),
    attachments=frozenset({"a1 of volume v1 attached"}),
)
OF_RESCUE = {"disk.rescue", "disk.config.rescue", "stable_rescue.json", "unrescue.xml"}
RESCUED = dataclasses.replace(
    ITSELF,
    status="RESCUE",
    definition="<domain>another</domain>",
    rescued=True,
    process="11",
    files=ITSELF.files | OF_RESCUE,
)
NOTHING: frozenset[str] = frozenset()


def judged(
    now: View, before: View = ITSELF, extra: frozenset[str] = NOTHING
) -> Verdict:
    return judge(ITSELF, before, now, extra)


class ScheduleTest(base.BaseTestCase):
    def test_the_same_seed_gives_the_same(self) -> None:
        names = tuple(victims.VICTIMS)
        self.assertEqual(
            schedule(1, 50, SERVERS, names), schedule(1, 50, SERVERS, names)
        )
        self.assertNotEqual(
            schedule(1, 50, SERVERS, names), schedule(2, 50, SERVERS, names)
        )

    def test_more_runs_begin_as_fewer_do(self) -> None:
        names = tuple(victims.VICTIMS)
        self.assertEqual(
            schedule(1, 10, SERVERS, names), schedule(1, 50, SERVERS, names)[:10]
        )

    def test_everyone_has_a_turn(self) -> None:
        runs = schedule(7, 42, SERVERS, tuple(victims.VICTIMS))
        self.assertEqual({6}, set(Counter(run.victim for run in runs).values()))
        self.assertEqual({14}, set(Counter(run.server for run in runs).values()))

    def test_moments_are_shares_and_pauses_bounded(self) -> None:
        low, high = PAUSE_SECONDS
        for run in schedule(3, 200, SERVERS, tuple(victims.VICTIMS)):
            self.assertTrue(0 <= run.moment < 1, run)
            self.assertTrue(low <= run.pause <= high, run)

    def test_victims_are_known(self) -> None:
        self.assertEqual(["glance", "mariadb"], victims.chosen("glance,mariadb"))
        error = self.assertRaises(LabError, victims.chosen, "glance,keystone")
        self.assertIn("No victim keystone; known: nova-compute, ", str(error))
        self.assertRaises(LabError, victims.chosen, "")


class JudgeTest(base.BaseTestCase):
    def test_itself_with_the_same_process_was_not_touched(self) -> None:
        self.assertEqual(Verdict(Outcome.UNTOUCHED), judged(ITSELF))

    def test_itself_with_another_was_brought_back(self) -> None:
        now = dataclasses.replace(ITSELF, process="12")
        self.assertEqual(Verdict(Outcome.UNDONE), judged(now))
        self.assertEqual(Verdict(Outcome.UNRESCUED), judged(now, before=RESCUED))

    def test_rescued(self) -> None:
        self.assertEqual(Verdict(Outcome.RESCUED), judged(RESCUED))
        self.assertEqual(Verdict(Outcome.KEPT), judged(RESCUED, before=RESCUED))

    def assert_lost(self, now: View, why: str) -> None:
        verdict = judged(now)
        self.assertEqual(Outcome.LOST, verdict.outcome)
        self.assertIn(why, "\n".join(verdict.faults))

    def test_a_task_that_does_not_end(self) -> None:
        now = dataclasses.replace(ITSELF, task_state="rescuing")
        self.assert_lost(now, "status ACTIVE, task state rescuing")

    def test_a_server_in_error(self) -> None:
        self.assert_lost(dataclasses.replace(ITSELF, status="ERROR"), "status ERROR")

    def test_a_server_that_ran_and_is_off(self) -> None:
        self.assert_lost(
            dataclasses.replace(ITSELF, status="SHUTOFF", running=False), "SHUTOFF"
        )
        self.assert_lost(dataclasses.replace(ITSELF, running=False), "it runs: False")

    def test_another_definition(self) -> None:
        now = dataclasses.replace(
            ITSELF, definition=ITSELF.definition.replace("<name>a", "<name>b")
        )
        self.assert_lost(now, "+ <name>b</name>")

    def test_a_rescue_definition_in_an_active_server(self) -> None:
        self.assert_lost(dataclasses.replace(ITSELF, rescued=True), "as rescued")

    def test_a_rescue_that_does_not_run(self) -> None:
        self.assert_lost(dataclasses.replace(RESCUED, running=False), "does not run")
        self.assert_lost(dataclasses.replace(RESCUED, rescued=False), "does not run")

    def test_a_mark_an_attachment_or_a_file_that_is_gone(self) -> None:
        for view in (ITSELF, RESCUED):
            damaged = dataclasses.replace(view, damaged=("vdd",))
            self.assert_lost(damaged, "the mark on vdd is gone")
            detached = dataclasses.replace(view, attachments=NOTHING)
            self.assert_lost(detached, "a1 of volume v1 attached")
            removed = dataclasses.replace(view, files=view.files - {"disk.config"})
            self.assert_lost(removed, "files are gone: disk.config")

    def test_files_of_a_rescue_are_left_over_once_it_has_ended(self) -> None:
        now = dataclasses.replace(ITSELF, files=ITSELF.files | {"disk.rescue"})
        verdict = judged(now, before=RESCUED)
        self.assertEqual(("file disk.rescue",), verdict.leftovers)
        self.assertEqual(Outcome.UNRESCUED, verdict.outcome)

    def test_files_that_are_not_whole_are_left_over_at_any_time(self) -> None:
        for name in (".stable_rescue.json.new", "disk.rescue.part"):
            now = dataclasses.replace(RESCUED, files=RESCUED.files | {name})
            self.assertEqual((f"file {name}",), judged(now).leftovers)

    def test_things_of_the_host(self) -> None:
        left = judged(ITSELF, extra=frozenset({"loop device /dev/loop7"})).leftovers
        self.assertEqual(("loop device /dev/loop7",), left)

    def test_things_of_a_rescue_that_lasts_are_none_too_many(self) -> None:
        before = frozenset({"secret s1"})
        now = before | {
            "pool image vms/u1_disk.rescue",
            "pool image vms/u2_disk.rescue",
        }
        self.assertEqual(
            {"pool image vms/u2_disk.rescue"},
            extra_things(before, now, frozenset({"u1"})),
        )


class ReportTest(base.BaseTestCase):
    ENTRIES = (
        Entry("libvirtd", "rescue, beginning", Verdict(Outcome.UNDONE), 3.0),
        Entry("libvirtd", "rescue, beginning", Verdict(Outcome.RESCUED), 2.0),
        Entry("glance", "rescue, preparing", Verdict(Outcome.LOST, ("gone",)), 9.5),
        Entry(
            "glance",
            "rescue, preparing",
            Verdict(Outcome.UNTOUCHED, (), ("file x", "file y")),
            1.0,
        ),
    )

    def test_counts(self) -> None:
        self.assertEqual(1, report.lost(self.ENTRIES))
        self.assertEqual(2, report.leftovers(self.ENTRIES))

    def test_a_row_by_victim_and_phase(self) -> None:
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
            ["libvirtd", "rescue, beginning", "2", "1 rescued, 1 undone"], rows[2][:4]
        )
        self.assertEqual(["0", "0", "2.0 to 3.0"], rows[2][4:])

    def test_a_row_for_all(self) -> None:
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
    def test_disks_as_qemu_io_opens_them(self) -> None:
        self.assertEqual(
            [
                Disk("vda", "qcow2", "/i/disk", True),
                Disk("vdb", "raw", "rbd:volumes/v:id=cinder", True),
                Disk("vdc", "raw", "/dev/storpool-byid/1", True),
                Disk("sda", "raw", "/i/disk.config", False),
            ],
            disks_of(DEFINITION),
        )
