# SPDX-License-Identifier: Apache-2.0
"""The commands for operators, with a guest of a real QEMU that boots its rescue."""

import csv
import io
import json
import os
import subprocess
import sys
from typing import Any
from unittest import mock

from nova import context, objects

from lab.sandbox import REPOSITORY
from stable_rescue.cmd import main
from tests.integration import base
from tests.integration.faults.compute import HOST, Compute
from tests.integration.faults.server import FaultTestBase

_COMMAND = "import sys; from stable_rescue.cmd import main; sys.exit(main.main())"


class CommandsTest(FaultTestBase):
    def setUp(self) -> None:
        super().setUp()
        image = base.images().rescue_raw
        self.compute = Compute(self.folder, self.instances, self.scene.uuid, image)
        self.nova_conf = self.folder / "nova.conf"
        self.nova_conf.write_text(
            f"[DEFAULT]\ninstances_path = {self.instances}\nhost = {HOST}\n"
            f"[libvirt]\nvirt_type = qemu\nimages_type = raw\n"
        )

    def run_command(self, *words: str) -> tuple[int, Any]:
        """Run a command in another process; return its status and its JSON."""
        process = subprocess.run(
            [
                *(sys.executable, "-c", _COMMAND, *words, "-f", "json"),
                *("--config-file", self.nova_conf),
            ],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            timeout=base.BOOT_SECONDS,
            check=False,
        )
        self.assertEqual("", process.stderr)
        return process.returncode, json.loads(process.stdout)

    def verify(self) -> tuple[int, dict[str, tuple[str, str]]]:
        """Return the status of verify, and the result and details of each check."""
        status, content = self.run_command("verify", self.scene.uuid)
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

    def test_commands_follow_a_rescue_from_boot_to_deletion(self) -> None:
        code, output = self.compute.act("rescue")
        self.assertEqual(0, code, output[-6000:])
        self.server.wait_for_inventory(lambda seen: seen.image == "rescue")
        status, results = self.verify()
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
