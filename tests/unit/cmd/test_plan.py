# SPDX-License-Identifier: Apache-2.0
"""stable-rescue plan in a process that can import nothing but lxml."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import ddt
from oslotest import base

from stable_rescue import properties
from stable_rescue.domain import recognize
from stable_rescue.domain.compare import compare
from stable_rescue.domain.document import Domain
from tests.unit.domain import samples

ROOT = Path(__file__).parents[3]

# Only the standard library, lxml and stable_rescue can be imported. Sockets, processes,
# writing files and reading files of /etc are errors.
ALONE = """
import sys

class OnlyLxml:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in ("lxml", "stable_rescue", *sys.stdlib_module_names):
            raise ImportError(f"{name} was imported")

def watch(event, args):
    if event.startswith(("socket.", "subprocess.", "os.exec", "os.fork")):
        raise RuntimeError(event)
    if event == "open" and isinstance(args[0], str):
        path, mode, _flags = args
        if path.startswith("/etc/") or set(mode or "r") & set("wax+"):
            raise RuntimeError(f"{path} was opened")

sys.meta_path.insert(0, OnlyLxml())
sys.path.insert(0, sys.argv.pop(1))
from stable_rescue.cmd import main
sys.addaudithook(watch)
sys.exit(main.main())
"""


def run(
    *arguments: str, stdin: str | bytes = "", stdout: Any = subprocess.PIPE
) -> subprocess.CompletedProcess[bytes]:
    """Run `stable-rescue plan` with a definition as stdin."""
    return subprocess.run(
        [
            *(sys.executable, "-I", "-B", "-c", ALONE, str(ROOT)),
            *("plan", "--domain-xml", "-", *arguments),
        ],
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={"LC_ALL": "C"},
        timeout=60,
        check=False,
    )


@ddt.ddt
class PlanCommandTest(base.BaseTestCase):
    def assert_fails(
        self, status: int, reason: str, process: subprocess.CompletedProcess[bytes]
    ) -> None:
        """Check the exit status and the reason of a process that has failed."""
        self.assertEqual((status, b""), (process.returncode, process.stdout))
        self.assertIn(reason, process.stderr.decode())
        self.assertNotIn("Traceback", process.stderr.decode())

    def output(self, *arguments: str, name: str = "q35") -> str:
        """Return the plan for a golden definition."""
        process = run(*arguments, stdin=samples.read(name))
        self.assertEqual((0, b""), (process.returncode, process.stderr))
        return process.stdout.decode()

    def test_xml_format_is_the_rescue_definition(self) -> None:
        output = self.output(
            *("--property", "hw_rescue_bus=usb", "--medium", "/images/it's & <that>"),
            *("--medium-format", "qcow2", "--format", "xml"),
        )
        rescue = Domain.parse(output)
        disk = recognize.rescue_disk(rescue)
        self.assertEqual(
            ("/images/it's & <that>", "qcow2", "usb"),
            (
                disk.find("source").get("file"),
                disk.find("driver").get("type"),
                disk.find("target").get("bus"),
            ),
        )
        self.assertEqual((), compare(samples.parsed("q35"), rescue).disturbed)

    def test_json_format_is_the_whole_plan(self) -> None:
        content = json.loads(self.output("--format", "json"))
        self.assertEqual(
            ("disk", "virtio", samples.read("q35")),
            (content["device"], content["bus"], content["original"]),
        )
        self.assertEqual(1, content["schema_version"])
        self.assertEqual(
            {
                "device": "disk",
                "bus": "virtio",
                "target": "vdd",
                "address": "pci 0000:07:00.0",
                "source": f"/var/lib/nova/instances/{samples.parsed('q35').uuid}"
                "/disk.rescue",
            },
            content["rescue_disk"],
        )
        self.assertEqual({"name", "what", "rule"}, content["edits"][0].keys())
        self.assertEqual([], content["comparison"]["moved"])
        self.assertEqual(["disk vdd"], content["comparison"]["appeared"])

    def test_discarded_writes_are_in_the_plan(self) -> None:
        content = json.loads(
            self.output(
                *("--property", "hw_rescue_writes=discard"),
                *("--medium", "/images/disk.rescue", "--format", "json"),
            )
        )
        disk = next(Domain.parse(content["rescue"]).disks())
        path = disk.find("source").get("file")
        self.assertEqual("/images/overlay.vda.rescue", path)
        self.assertEqual([], content["comparison"]["moved"])
        self.assertIn("disk vda", content["comparison"]["changed"])

    def test_table_format_has_devices_edits_and_findings(self) -> None:
        table = self.output("--property", "hw_rescue_device=cdrom")
        rows = [line.split() for line in table.splitlines()]
        disk = "/var/lib/nova/instances/0f4b0a6e/disk"
        self.assertIn(
            ["disk", "vda", "on", "virtio", "pci", "0000:02:00.0", disk], rows
        )
        self.assertIn(["Machine", "pc-q35-7.2,", "BIOS"], rows)
        self.assertIn("added cdrom sdb on sata", table)
        self.assertIn("  F7", table)
        self.assertIn(["+", "cdrom", "sdb", "on", "sata"], [row[:5] for row in rows])
        devices = table.partition("source\n")[2].partition("\n\nEdits")[0]
        listed = [line for line in devices.splitlines() if not line.startswith("  +")]
        self.assertIn(f"moved: 0 of {len(listed)}\n", table)
        self.assertIn("removed os/boot, os/boot@dev\n", table)
        self.assertIn("Findings\n  none\n", table)
        self.assertNotIn("secret", table)

    def test_definition_is_read_from_a_file(self) -> None:
        path = str(samples.GOLDEN / "pc.xml")
        # The last --domain-xml counts.
        table = self.output("--domain-xml", path, name="q35")
        self.assertIn("pc-i440fx", table)

    def test_output_is_utf_8_in_any_locale(self) -> None:
        text = samples.read("pc").replace(">web<", ">wéb 网<")
        for format_ in ("xml", "json", "table"):
            process = run("--format", format_, stdin=text)
            self.assertEqual(0, process.returncode, process.stderr)
            if format_ != "table":
                self.assertIn("wéb 网", process.stdout.decode())

    @ddt.data(*properties.BUSES, "thunderbolt", "USB", "")
    def test_unknown_bus_is_refused_naming_those_allowed(self, value: str) -> None:
        wrong = value not in properties.BUSES
        process = run("--property", f"hw_rescue_bus={value}", stdin=samples.read("q35"))
        self.assertEqual(wrong, b"allowed are virtio, scsi, usb" in process.stderr)
        self.assertEqual(wrong or value in ("ide", "fdc"), process.returncode == 2)

    def test_unknown_device_is_refused_naming_those_allowed(self) -> None:
        process = run("--property", "hw_rescue_device=tape", stdin=samples.read("pc"))
        self.assert_fails(2, "allowed are disk, cdrom, floppy", process)

    def test_incomplete_definition_is_refused(self) -> None:
        text = "<domain><name>a</name><os><type>hvm</type></os><devices/></domain>"
        self.assert_fails(2, "use the output of virsh dumpxml", run(stdin=text))

    def test_impossible_bus_is_refused_with_status_2(self) -> None:
        process = run("--property", "hw_rescue_bus=ide", stdin=samples.read("q35"))
        self.assert_fails(2, "refused: a disk on bus ide is not possible", process)

    def test_rescue_definition_is_refused(self) -> None:
        """U8."""
        rescue = self.output("--format", "xml")
        self.assert_fails(2, "already a rescue definition", run(stdin=rescue))

    def test_fallback_bus_and_gap_are_used_if_allowed(self) -> None:
        original = samples.domain("pc")
        samples.add_disk(original, "vde", "virtio", samples.pci(0, 31))
        full = original.to_xml()
        self.assert_fails(2, "behind its last device", run(stdin=full))
        process = run("--fallback-bus", "ide", stdin=full)
        self.assertIn(b"bus virtio has no room; ide is used instead", process.stdout)
        process = run("--allow-gaps", stdin=full)
        self.assertIn(b"vdf sits in a gap", process.stdout)

    def test_other_property_is_ignored_with_a_warning(self) -> None:
        process = run("--property", "hw_disk_bus=usb", stdin=samples.read("pc"))
        self.assertEqual(0, process.returncode)
        self.assertIn(b"property hw_disk_bus is ignored", process.stderr)

    def test_unknown_rescue_property_is_an_error_with_a_suggestion(self) -> None:
        process = run("--property", "hw_rescue_buss=usb", stdin=samples.read("pc"))
        self.assert_fails(64, "hw_rescue_buss; did you mean hw_rescue_bus?", process)

    def test_every_pci_address_has_one_spelling(self) -> None:
        table = self.output("--property", "hw_rescue_bus=virtio")
        self.assertIn("added disk vdd on virtio at 0000:07:00.0, boot order 1", table)

    def test_output_that_cannot_be_written_fails_with_status_74(self) -> None:
        path = str(samples.GOLDEN / "pc.xml")
        with Path("/dev/full").open("wb") as full:
            process = run("--domain-xml", path, stdout=full)
        self.assertEqual(74, process.returncode)
        self.assertEqual(
            b"stable-rescue: cannot write to stdout: No space left on device\n",
            process.stderr,
        )

    def test_reader_that_stops_early_is_no_error(self) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        process = run(stdin=samples.read("pc"), stdout=writer)
        os.close(writer)
        self.assertEqual((0, b""), (process.returncode, process.stderr))

    @ddt.data(
        ("", "not well-formed"),
        ("not XML", "not well-formed"),
        ("<network><name>x</name></network>", "not domain"),
        (samples.read("pc").encode("utf-16"), "not UTF-8"),
        (b"<domain>\xff</domain>", "not UTF-8"),
        ("<domain/>", "no <name>"),
    )
    @ddt.unpack
    def test_text_that_is_not_a_domain_fails_with_status_1(
        self, text: str | bytes, reason: str
    ) -> None:
        self.assert_fails(1, reason, run(stdin=text))

    @ddt.data("/nowhere.xml", "/")
    def test_unreadable_file_fails_with_status_1(self, path: str) -> None:
        self.assert_fails(1, path, run("--domain-xml", path))

    def test_file_that_is_not_a_domain_is_named(self) -> None:
        path = str(ROOT / "setup.cfg")
        self.assert_fails(1, f"{path}: not well-formed", run("--domain-xml", path))

    @ddt.data(
        ("--property", "usb"),
        ("--property", "=usb"),
        ("--format", "yaml"),
        ("--fallback-bus", "xen"),
        ("--medium", ""),
        ("--medium", "/a\nb"),
        ("--no-such-option",),
    )
    def test_wrong_command_line_fails_with_status_64(
        self, words: tuple[str, ...]
    ) -> None:
        self.assert_fails(64, "usage: stable-rescue", run(*words))

    def test_installed_command_is_this_main(self) -> None:
        text = (ROOT / "setup.cfg").read_text()
        self.assertIn("stable-rescue = stable_rescue.cmd.main:main\n", text)
