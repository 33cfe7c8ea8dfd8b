# SPDX-License-Identifier: Apache-2.0
"""Input that is made to exhaust the parser is rejected with little memory."""

import subprocess
import sys
import tracemalloc
from pathlib import Path

import ddt
from oslotest import base

from stable_rescue import exception
from stable_rescue.domain import document
from stable_rescue.domain.document import Domain

ROOT = Path(__file__).parents[3]
_MIB = 1024 * 1024
# Python and lxml need a tenth of this, and 4 MiB of the smallest elements half of it.
_MEMORY = 320 * _MIB
_START = "<domain><name>n</name><uuid>u</uuid><os><type>hvm</type></os><devices>"
_END = "</devices></domain>"

# Reads a definition from stdin, as the command does.
READ = """
import resource, sys
sys.path.insert(0, sys.argv.pop(1))
from stable_rescue.cmd import main
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
sys.exit(main.main(["plan", "--domain-xml", "-"]))
"""


def entities(count: int) -> str:
    """Return an entity bomb: each entity contains the previous one ten times."""
    declared = (f"<!ENTITY e{n} '{f'&e{n - 1};' * 10}'>" for n in range(1, count))
    return "<!ENTITY e0 'aaaaaaaaaa'>" + "".join(declared)


def within(text: str, size: int = document.MAX_BYTES) -> str:
    """Return a domain that repeats a text up to a size."""
    return _START + text * ((size - len(_START + _END)) // len(text)) + _END


def _named(attribute: str, times: int) -> str:
    return f"<domain {' '.join(map(attribute.format, range(times)))}/>"


# A text, and a part of the error message for it.
HOSTILE = {
    "100 MB of space": (lambda: _START + " " * 100 * _MIB + _END, "bytes of XML"),
    "100 MB of devices": (lambda: within("<disk/>", 100 * _MIB), "bytes of XML"),
    "as many elements as fit": (lambda: within("<a/>"), "elements"),
    "as many disks as fit": (
        lambda: within("<disk><target dev='a' bus='virtio'/></disk>"),
        "elements",
    ),
    "a long text": (lambda: within("x"), "machine type"),
    "many attributes": (lambda: _named("a{}='1'", 300_000), "no <name>"),
    "many namespaces": (lambda: _named("xmlns:a{0}='u{0}'", 20_000), "no <name>"),
    "deep nesting": (lambda: "<d>" * 500_000 + "</d>" * 500_000, "depth"),
    "deep nesting in a domain": (
        lambda: _START + "<d>" * 300 + "</d>" * 300 + _END,
        "depth",
    ),
    "an entity bomb": (
        lambda: f"<!DOCTYPE d [{entities(12)}]><domain>&e11;</domain>",
        "",
    ),
    "an entity bomb in an attribute": (
        lambda: f"<!DOCTYPE d [{entities(12)}]><domain type='&e11;'/>",
        "",
    ),
    "a long entity many times": (
        lambda: (
            f"<!DOCTYPE d [<!ENTITY a '{'a' * _MIB}'>]>"
            f"<domain>{'&a;' * 100_000}</domain>"
        ),
        "",
    ),
    "an entity of itself": (
        lambda: "<!DOCTYPE d [<!ENTITY a '&b;'><!ENTITY b '&a;'>]><domain>&a;</domain>",
        "",
    ),
    "an external entity": (
        lambda: (
            "<!DOCTYPE d [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><domain>&x;</domain>"
        ),
        "document type",
    ),
    "an external parameter entity": (
        lambda: "<!DOCTYPE d [<!ENTITY % x SYSTEM 'file:///etc/passwd'>%x;]><domain/>",
        "document type",
    ),
    "an endless external DTD": (
        lambda: "<!DOCTYPE d SYSTEM '/dev/zero'><domain/>",
        "document type",
    ),
    "a wrong namespace": (
        lambda: (_START + _END).replace("<domain>", "<domain xmlns='urn:x'>"),
        "not domain",
    ),
    "a wrong namespace of the devices": (
        lambda: (_START + _END).replace("<devices>", "<devices xmlns='urn:x'>"),
        "no <devices>",
    ),
}


@ddt.ddt
class HostileTest(base.BaseTestCase):
    @ddt.data(*HOSTILE)
    def test_hostile_text_is_rejected_with_little_memory(self, name: str) -> None:
        make, reason = HOSTILE[name]
        process = subprocess.run(
            [sys.executable, "-I", "-c", READ, str(ROOT), str(_MEMORY)],
            input=make().encode(),
            capture_output=True,
            timeout=120,
            check=False,
        )
        self.assertEqual(b"", process.stdout)
        self.assertIn(process.returncode, (1, 2), process.stderr)
        self.assertIn(reason, process.stderr.decode())
        self.assertNotIn("root:", process.stderr.decode())

    def test_text_over_the_limit_is_rejected_before_parsing(self) -> None:
        """Only the text and its encoded form are in memory."""
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        text = within("<disk/>", 100 * _MIB)
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        self.assertRaises(exception.InvalidDomain, Domain.parse, text)
        peak = tracemalloc.get_traced_memory()[1]
        self.assertLess(peak - before, 110 * _MIB)

    def test_server_with_ten_thousand_devices_is_below_the_limit(self) -> None:
        disk = (
            "<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
            "<source file='/images/disk'/><target dev='sdz' bus='scsi'/>"
            "<address type='drive' controller='0' bus='0' target='0' unit='0'/></disk>"
        )
        domain = Domain.parse(_START + disk * 10_000 + _END)
        self.assertEqual(10_000, len(list(domain.disks())))
