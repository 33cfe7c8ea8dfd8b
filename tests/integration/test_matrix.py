# SPDX-License-Identifier: Apache-2.0
"""LIBVIRT.md, matrix 1: every combination, by libvirt's word and none of ours."""

import re
from typing import ClassVar

import libvirt
from lxml import etree

from tests.integration import base, matrix, support
from tests.integration.matrix import Original, Result

# What each machine is known to carry, by libvirt's rules and the firmware's drivers.
_PC = {
    *(("disk", bus) for bus in ("virtio", "scsi", "usb", "ide")),
    *(("cdrom", bus) for bus in ("ide", "scsi", "usb")),
}
_Q35 = {
    *(("disk", bus) for bus in ("virtio", "scsi", "usb", "sata")),
    *(("cdrom", bus) for bus in ("sata", "scsi", "usb")),
}
_FLOPPY = ("floppy", "fdc")
_HOW = "python -m tests.integration.support --write, in the sandbox, makes it anew"


class Matrix:
    """All servers of one machine and firmware, each rescued in each way."""

    machine: ClassVar[str]
    firmware: ClassVar[str]
    carried: ClassVar[set[tuple[str, str]]]
    results: ClassVar[list[Result]]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.results = matrix.run(cls.machine, cls.firmware)

    def check(self, history: str) -> None:
        """Check that each case is derived and sound, or refused as it must be."""
        found = [r for r in self.results if r.original.history == history]
        self.assertEqual(3 * 5 * 18, len(found))
        self.assertEqual([], [str(r) for r in found if r.complaints][:5])
        for result in found:
            self.assertRegex(result.message, self.expected(result), str(result))

    def expected(self, result: Result) -> str:
        """Return what a result's message must match."""
        original, device, bus = result.original, result.device, result.bus
        if (device, bus) not in self.carried:
            return rf"^a {device} (on bus {bus} )?is not possible .* takes disk on "
        # a slot is needed for the disk or for a controller
        needs = bus in ("virtio", "usb") or (bus == "scsi" and original.scsi == "none")
        if self.machine == "pc" and original.history == "full" and needs:
            return "^no room is left on the machine's PCI buses$"
        return "^$"

    def test_no_history(self):
        self.check("none")

    def test_a_hole(self):
        self.check("hole")

    def test_a_filled_hole(self):
        self.check("filled")

    def test_no_slot_left(self):
        self.check("full")

    def test_the_manual_says_so(self):
        section = support.section(self.machine, self.firmware, self.results)
        self.assertIn(section, support.PAGE.read_text(), _HOW)


class PcBiosTest(Matrix, base.TestCase):
    machine, firmware = "pc", "bios"
    carried: ClassVar = _PC | {_FLOPPY}


class PcUefiTest(Matrix, base.TestCase):
    machine, firmware = "pc", "uefi"
    carried: ClassVar = _PC


class Q35BiosTest(Matrix, base.TestCase):
    machine, firmware = "q35", "bios"
    carried: ClassVar = _Q35 | {_FLOPPY}


class Q35UefiTest(Matrix, base.TestCase):
    machine, firmware = "q35", "uefi"
    carried: ClassVar = _Q35


class Q35SecureBootTest(Matrix, base.TestCase):
    machine, firmware = "q35", "uefi secure boot"
    carried: ClassVar = _Q35


class PcSecureBootTest(base.TestCase):
    def test_libvirt_has_no_such_server(self):
        for original in matrix.originals("pc", "uefi secure boot"):
            with self.assertRaisesRegex(libvirt.libvirtError, "q35"):
                matrix.remove(original.define())


class PageTest(base.TestCase):
    """What the manual says beside the sections that the matrix has."""

    def test_the_rest_of_the_page(self):
        page = support.PAGE.read_text()
        self.assertTrue(page.startswith(support.head()), _HOW)
        self.assertTrue(page.endswith(support.others()), _HOW)
        self.assertEqual(
            len(support.SERVERS) + 1, len(re.findall("^-+$", page, re.MULTILINE))
        )

    def test_every_other_machine_has_its_answer(self):
        rows = support.others().split("* -")[2:]
        self.assertEqual(6, len(rows))
        self.assertIn("definition only", rows[0])
        for row in rows[1:]:
            self.assertRegex(row, "(?s)- no\n.* is not supported")


class Versions:
    """Each version and alias of a machine that libvirt lists, each way, once."""

    family: ClassVar[str]
    pairs: ClassVar[set[tuple[str, str]]]

    def test_every_version(self):
        capabilities = etree.fromstring(self.connection.getCapabilities())
        listed = capabilities.iterfind("guest/arch[@name='x86_64']//machine")
        mine = re.compile(f"{self.family}|pc-{self.family.replace('pc', 'i440fx')}-.+")
        names = {m.text for m in listed if mine.fullmatch(m.text)}
        self.assertGreater(len(names), 10)
        pairs = tuple(sorted(self.pairs))
        for name in sorted(names):
            original = Original(name, "bios", "hole", "two inputs", "gaps")
            for result in matrix.run_pairs(original, pairs):
                self.assertEqual(("", ()), (result.message, result.complaints), result)


class PcVersionsTest(Versions, base.TestCase):
    family = "pc"
    pairs: ClassVar = PcBiosTest.carried


class Q35VersionsTest(Versions, base.TestCase):
    family = "q35"
    pairs: ClassVar = Q35BiosTest.carried
