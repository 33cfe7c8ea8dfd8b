# SPDX-License-Identifier: Apache-2.0
"""The offline command, as a process of its own that has nothing but lxml."""

import json
import subprocess
import sys
from pathlib import Path

import ddt
from oslotest import base

from stable_rescue import properties
from stable_rescue.domain import recognise
from stable_rescue.domain.compare import compare
from stable_rescue.domain.document import Domain
from tests.unit.domain import samples

ROOT = Path(__file__).parents[3]

# Only the standard library, lxml and ourselves can be imported; no socket, no other
# process, nothing written, and no file of /etc read.
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


def run(*arguments: str, stdin: str | bytes = "") -> subprocess.CompletedProcess[bytes]:
    """Run `stable-rescue plan` with a definition as stdin."""
    return subprocess.run(
        [
            *(sys.executable, "-I", "-B", "-c", ALONE, str(ROOT)),
            *("plan", "--domain-xml", "-", *arguments),
        ],
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        env={"LC_ALL": "C"},
        timeout=60,
        check=False,
    )


@ddt.ddt
class PlanCommandTest(base.BaseTestCase):
    def assert_fails(
        self, status: int, reason: str, done: subprocess.CompletedProcess[bytes]
    ) -> None:
        self.assertEqual((status, b""), (done.returncode, done.stdout))
        self.assertIn(reason, done.stderr.decode())
        self.assertNotIn("Traceback", done.stderr.decode())

    def output(self, *arguments: str, name: str = "q35") -> str:
        done = run(*arguments, stdin=samples.read(name))
        self.assertEqual((0, b""), (done.returncode, done.stderr))
        return done.stdout.decode()

    def test_xml_is_the_rescue_definition_alone(self) -> None:
        found = self.output(
            *("--property", "hw_rescue_bus=usb", "--medium", "/images/it's & <that>"),
            *("--medium-format", "qcow2", "--format", "xml"),
        )
        disk = recognise.rescue_disk(Domain.parse(found))
        self.assertEqual(
            ("/images/it's & <that>", "qcow2", "usb"),
            (
                disk.find("source").get("file"),
                disk.find("driver").get("type"),
                disk.find("target").get("bus"),
            ),
        )
        self.assertEqual(
            (), compare(samples.parsed("q35"), Domain.parse(found)).disturbed
        )

    def test_json_is_all_of_the_plan(self) -> None:
        found = json.loads(self.output("--format", "json"))
        self.assertEqual(
            ("disk", "virtio", samples.read("q35")),
            (found["device"], found["bus"], found["original"]),
        )
        self.assertEqual({"name", "what", "rule"}, found["edits"][0].keys())
        self.assertEqual([], found["comparison"]["moved"])
        self.assertEqual(["disk vdd"], found["comparison"]["appeared"])

    def test_the_table_tells_devices_edits_and_findings(self) -> None:
        found = self.output("--property", "hw_rescue_device=cdrom")
        rows = [line.split() for line in found.splitlines()]
        disk = "/var/lib/nova/instances/0f4b0a6e/disk"
        self.assertIn(
            ["disk", "vda", "on", "virtio", "pci", "0000:02:00.0", disk], rows
        )
        self.assertIn(["Machine", "pc-q35-7.2,", "BIOS"], rows)
        self.assertIn("added cdrom sdb on sata", found)
        self.assertIn("  F7", found)
        self.assertIn("moved: 0 of 33", found)
        self.assertIn("Findings\n  none\n", found)
        self.assertNotIn("secret", found)

    def test_a_file_is_read(self) -> None:
        path = str(samples.GOLDEN / "pc.xml")
        found = self.output("--domain-xml", path, name="q35")  # the last one counts
        self.assertIn("pc-i440fx", found)

    def test_letters_beyond_ascii_survive_any_locale(self) -> None:
        own = samples.read("pc").replace(">web<", ">wéb 网<")
        for how in ("xml", "json", "table"):
            done = run("--format", how, stdin=own)
            self.assertEqual(0, done.returncode, done.stderr)
            if how != "table":
                self.assertIn("wéb 网", done.stdout.decode())

    @ddt.data(*properties.BUSES, "thunderbolt", "USB", "")
    def test_an_unknown_value_is_refused_with_those_allowed(self, value: str) -> None:
        wrong = value not in properties.BUSES
        done = run("--property", f"hw_rescue_bus={value}", stdin=samples.read("q35"))
        self.assertEqual(wrong, b"allowed are virtio, scsi, usb" in done.stderr)
        self.assertEqual(wrong or value in ("ide", "fdc"), done.returncode == 2)

    def test_an_unknown_device_is_refused_with_those_allowed(self) -> None:
        done = run("--property", "hw_rescue_device=tape", stdin=samples.read("pc"))
        self.assert_fails(2, "allowed are disk, cdrom, floppy", done)

    def test_a_definition_that_libvirt_has_not_filled_in_is_refused(self) -> None:
        own = "<domain><name>a</name><os><type>hvm</type></os><devices/></domain>"
        self.assert_fails(2, "use the output of virsh dumpxml", run(stdin=own))

    def test_a_refusal(self) -> None:
        done = run("--property", "hw_rescue_bus=ide", stdin=samples.read("q35"))
        self.assert_fails(2, "refused: a disk on bus ide is not possible", done)

    def test_a_rescue_definition_is_refused(self) -> None:
        """UPSTREAM U8."""
        rescue = self.output("--format", "xml")
        self.assert_fails(2, "already a rescue definition", run(stdin=rescue))

    def test_other_buses_and_gaps_where_they_are_allowed(self) -> None:
        own = samples.domain("pc")
        samples.add_disk(own, "vde", "virtio", samples.pci(0, 31))
        full = own.to_xml()
        self.assert_fails(2, "behind its last device", run(stdin=full))
        done = run("--fallback-bus", "ide", stdin=full)
        self.assertIn(b"bus virtio has no room; ide is used instead", done.stdout)
        done = run("--allow-gaps", stdin=full)
        self.assertIn(b"vdf sits in a gap", done.stdout)

    def test_other_properties_are_told_to_have_no_bearing(self) -> None:
        done = run("--property", "hw_resque_bus=usb", stdin=samples.read("pc"))
        self.assertEqual(0, done.returncode)
        self.assertIn(b"property hw_resque_bus is ignored", done.stderr)

    @ddt.data(
        ("", "not well-formed"),
        ("not XML", "not well-formed"),
        ("<network><name>x</name></network>", "not domain"),
        (samples.read("pc").encode("utf-16"), "not UTF-8"),
        (b"<domain>\xff</domain>", "not UTF-8"),
        ("<domain/>", "no <name>"),
    )
    @ddt.unpack
    def test_what_is_no_domain(self, text: str | bytes, reason: str) -> None:
        self.assert_fails(1, reason, run(stdin=text))

    @ddt.data("/nowhere.xml", "/")
    def test_what_cannot_be_read(self, path: str) -> None:
        self.assert_fails(1, path, run("--domain-xml", path))

    @ddt.data(
        ("--property", "usb"),
        ("--property", "=usb"),
        ("--format", "yaml"),
        ("--fallback-bus", "xen"),
        ("--medium", ""),
        ("--medium", "/a\nb"),
        ("--no-such-option",),
    )
    def test_a_wrong_command_line_is_no_refusal(self, words: tuple[str, ...]) -> None:
        self.assert_fails(64, "usage: stable-rescue", run(*words))

    def test_the_installed_command_is_this_one(self) -> None:
        text = (ROOT / "setup.cfg").read_text()
        self.assertIn("stable-rescue = stable_rescue.cmd.main:main\n", text)
