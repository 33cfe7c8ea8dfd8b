# SPDX-License-Identifier: Apache-2.0
"""The commands for operators, with a guest of a real QEMU that boots its rescue."""

import csv
import hashlib
import io
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest import mock

from nova import context, objects

from lab.sandbox import REPOSITORY
from stable_rescue.cmd import main
from stable_rescue.storage.store import Store
from tests.integration import base
from tests.integration.faults.compute import HOST, IMAGE_ID, Compute
from tests.integration.faults.server import FaultTestBase
from tests.integration.faults.strikes import DiskFull

_PROGRAM = "import sys; from stable_rescue.cmd import main; sys.exit(main.main())"
_FORKING = multiprocessing.get_context("fork")


def _run(words: Sequence[str], printed: Path, anew: bool) -> None:
    """Run a command in this process, or anew in a Python that has imported nothing."""
    with printed.open("w") as stream:
        os.dup2(stream.fileno(), 1)
        if anew:  # The program prints nothing else: an error would spoil the JSON.
            os.dup2(stream.fileno(), 2)
    if anew:
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        command = [sys.executable, "-c", _PROGRAM, *words]
        os.execve(sys.executable, command, environment)
    sys.exit(main.main(words))


class CommandsTestBase(FaultTestBase):
    """A server, its nova-compute, and the commands of an operator."""

    def setUp(self) -> None:
        super().setUp()
        #: What the last command has printed.
        self.printed = self.folder / "printed"
        self.nova_conf = self.folder / "nova.conf"
        self.nova_conf.write_text(
            f"[DEFAULT]\ninstances_path = {self.instances}\nhost = {HOST}\n"
            f"state_path = {self.instances}\n"
            f"[libvirt]\nvirt_type = qemu\nimages_type = raw\n"
        )

    def run_command(self, *words: str, anew: bool = False) -> tuple[int, Any]:
        """Run a command in another process; return its status and its JSON."""
        return self.result_of(self.start_command(*words, anew=anew))

    def start_command(self, *words: str, anew: bool = False) -> BaseProcess:
        """Start a command in another process.

        :param anew: the process has to import Nova again, which takes seconds; without,
            it is forked from the test's
        """
        words = (*words, "-f", "json", "--config-file", str(self.nova_conf))
        process = _FORKING.Process(target=_run, args=(words, self.printed, anew))
        process.start()
        self.addCleanup(process.kill)
        return process

    def result_of(self, process: BaseProcess) -> tuple[int, Any]:
        """Return the status of a command and its JSON."""
        process.join(base.BOOT_SECONDS)
        return process.exitcode, json.loads(self.printed.read_text())


class CommandsTest(CommandsTestBase):
    boots = True

    def setUp(self) -> None:
        super().setUp()
        image = base.images().rescue_raw
        self.compute = Compute(self.folder, self.instances, self.scene.uuid, image)

    def verify(self, anew: bool = False) -> tuple[int, dict[str, tuple[str, str]]]:
        """Return the status of verify, and the result and details of each check."""
        status, content = self.run_command("verify", self.scene.uuid, anew=anew)
        checks = content["checks"]
        return status, {
            each["check"]: (each["result"], each["details"]) for each in checks
        }

    def clean(self) -> dict[str, str]:
        """Clean with Nova's database, without a conductor; return action by place."""

        def run() -> None:
            with mock.patch("stable_rescue.nova_internals.connect_to_conductor"):
                words = ("--yes", "-f", "csv", "--config-file", str(self.nova_conf))
                assert main.main(["clean", *words]) == 0

        code, output = self.compute.call(run)
        self.assertEqual(0, code, output)
        table = output[output.index("server,leftover,") :]
        rows = csv.DictReader(io.StringIO(table))
        return {row["leftover"]: row["action"] for row in rows}

    def delete_in_nova(self) -> None:
        """Delete the server in Nova's database, and nowhere else."""

        def delete() -> None:
            admin = context.get_admin_context()
            objects.Instance.get_by_uuid(admin, self.scene.uuid).destroy()

        code, output = self.compute.call(delete)
        self.assertEqual(0, code, output)

    def recover(self, *words: str, anew: bool = False) -> tuple[int, str]:
        """Run recover beside a nova-compute that answers; return status and result."""
        status, content = self.ask("recover", *words, anew=anew)
        (row,) = content["results"]
        return status, row["result"]

    def ask(self, command: str, *words: str, anew: bool = False) -> tuple[int, Any]:
        """Run a command beside a nova-compute that answers; return status and JSON."""
        process = self.start_command(command, self.scene.uuid, *words, anew=anew)
        code, output = self.compute.act("requests")
        self.assertEqual(0, code, output[-6000:])
        return self.result_of(process)

    def test_libvirt_gets_the_definition_that_was_planned(self) -> None:
        before = self.observed(), self.nova_state()
        status, plan = self.ask("plan", "--image", IMAGE_ID, "--security-info")
        self.assertEqual(0, status)
        self.assertEqual(before, (self.observed(), self.nova_state()))
        code, output = self.compute.act("rescue")
        self.assertEqual(0, code, output[-6000:])
        record = Store(str(self.scene.folder)).load()
        self.assertEqual(
            (record.original_xml, record.rescue_xml), (plan["original"], plan["rescue"])
        )

    def test_killed_rescue_is_recovered_on_request_with_a_full_disk(self) -> None:
        def kill(point: str) -> None:
            if point == "after power off":
                os.kill(os.getpid(), signal.SIGKILL)

        code, output = self.compute.act("rescue", kill)
        self.assertEqual(-signal.SIGKILL, code, output[-6000:])
        interrupted = self.observed(), self.nova_state()
        self.assertEqual((0, "restored"), self.recover("--dry-run", anew=True))
        self.assertEqual(interrupted, (self.observed(), self.nova_state()))
        self.assertFalse(interrupted[0]["running"])

        full_disk = DiskFull(self.instances)
        full_disk.strike("before the request")
        self.assertEqual((0, "restored"), self.recover())
        full_disk.end()
        self.assert_restored()

    def test_commands_follow_a_rescue_from_boot_to_deletion(self) -> None:
        code, output = self.compute.act("rescue")
        self.assertEqual(0, code, output[-6000:])
        self.server.wait_for_inventory(lambda seen: seen.image == "rescue")
        status, results = self.verify(anew=True)
        self.assertEqual({"ok"}, {result for result, _details in results.values()})
        self.assertEqual(0, status)
        self.assertRegex(results["boot"][1], r"^\d+\.\d MiB read .* in \d+ requests$")

        _status, content = self.run_command("list")
        (listed,) = (r for r in content["rescues"] if r["server"] == self.scene.uuid)
        self.assertEqual(("rescued", True), (listed["state"], listed["running"]))
        _status, shown = self.run_command("show", self.scene.uuid)
        self.assertIn("shutdown and boot", [step["step"] for step in shown["steps"]])
        self.assertNotIn("moved", [device["change"] for device in shown["devices"]])

        # A volume is detached behind Nova's back.
        volume = self.scene.volume_xml(1, "vdd")
        self.server.detach(volume)
        self.server.wait_for_inventory(lambda s: not base.has_disk(s, "volume-1"))
        status, results = self.verify()
        self.assertEqual((3, "failed"), (status, results["devices"][0]))
        self.assertIn("disk vdd", results["devices"][1])

        # The server is deleted while its guest runs: nova-compute destroys it later.
        self.delete_in_nova()
        self.assertEqual({}, self.clean())
        self.assertTrue((self.scene.folder / "disk.rescue").exists())
        self.server.stop()
        self.server.domain.undefine()
        self.addCleanup(self.server.define, self.scene.xml())
        removed = self.clean()
        self.assertEqual({"removed"}, set(removed.values()))
        self.assertEqual(
            {
                str(self.scene.folder / name)
                for name in (
                    *("disk.rescue", "disk.config.rescue"),
                    *("unrescue.xml", "stable_rescue.json"),
                )
            },
            set(removed),
        )
        remaining = self.checksums()
        self.assertNotIn("disk.rescue", remaining)
        self.assertIn("disk", remaining)
        self.assertEqual({}, self.clean())


class ReportTest(CommandsTestBase):
    """A rescue that keeps the memory and discards its writes, and its report."""

    def report(self, *words: str) -> dict[str, Any]:
        status, content = self.run_command("report", *words, self.scene.uuid)
        self.assertEqual(0, status)
        return dict(content)

    def test_report_shows_that_no_disk_was_written(self) -> None:
        self.compute.properties |= {
            "hw_rescue_writes": "discard",
            "hw_rescue_memory": "dump",
        }
        code, output = self.compute.act("rescue")
        self.assertEqual(0, code, output[-6000:])
        report = self.report("--hash")
        disks = {disk["target"]: disk for disk in report["disks"]}
        for target in ("vda", "vdb", "vdc", "vdd", "vde"):
            disk = disks[target]
            self.assertEqual(("read-only", 0), (disk["opened"], disk["writes"]), target)
            file = Path(disk["path"]).name
            self.assertEqual(self.before["files"][file], disk["sha256"], target)
        # The rescue has another config drive, so nothing uses the original one.
        drive = disks["sda"]
        self.assertEqual((None, None), (drive["opened"], drive["writes"]))
        self.assertEqual(self.before["files"]["disk.config"], drive["sha256"])
        (dump,) = self.compute.dumps.iterdir()
        digest = hashlib.sha256(dump.read_bytes()).hexdigest()
        self.assertEqual(
            (str(dump), "kdump", digest),
            tuple(report["memory_dump"][key] for key in ("path", "format", "sha256")),
        )

        code, output = self.compute.act("unrescue")
        self.assertEqual(0, code, output[-6000:])
        report = self.report()
        entries = {entry["what"]: entry for entry in report["log"]}
        self.assertEqual(["started", "ending", "ended"], [*entries])
        self.assertEqual(
            report["original_sha256"], entries["ended"]["definition_sha256"]
        )
        disks = {disk["target"]: disk for disk in report["disks"]}
        self.assertEqual([0, 0], [disks[target]["writes"] for target in ("vda", "vde")])
        self.assertEqual({None}, {disk["opened"] for disk in disks.values()})
