# SPDX-License-Identifier: Apache-2.0
"""Every combination of server and rescue device is derived as libvirt accepts it."""

import re
from typing import ClassVar

import libvirt
from lxml import etree

from tests.integration import base, matrix, support
from tests.integration.matrix import Original, Result

# The pairs of device and bus that libvirt and the firmware support (F17, F18, F33).
_PC = {
    *(("disk", bus) for bus in ("virtio", "scsi", "usb", "ide")),
    *(("cdrom", bus) for bus in ("ide", "scsi", "usb")),
}
_Q35 = {
    *(("disk", bus) for bus in ("virtio", "scsi", "usb", "sata")),
    *(("cdrom", bus) for bus in ("sata", "scsi", "usb")),
}
_FLOPPY = ("floppy", "fdc")
_HOW_TO_UPDATE = (
    "run python -m tests.integration.support --write in the sandbox to update the page"
)


def rows_of_the_page() -> list[list[str]]:
    """Return the cells of the page's table of all machines, the titles first."""
    page = support.PAGE.read_text()
    table = page.removeprefix(support.INTRODUCTION).partition(support.METHOD)[0]
    rows = table.split("* -")[1:]
    return [re.findall(r"- (.+)", f"-{row}") for row in rows]


def columns_of_the_page() -> list[dict[tuple[str, str], str]]:
    """Return the symbols of each machine in that table; a missing row is refused."""
    _titles, *rows = rows_of_the_page()
    refused = dict.fromkeys(matrix.PAIRS, support.REFUSED)
    return [
        refused | {(row[0], row[1]): row[2 + index] for row in rows}
        for index in range(len(support.SERVERS))
    ]


class Matrix:
    """All servers of one machine and firmware, each with every rescue device."""

    machine: ClassVar[str]
    firmware: ClassVar[str]
    supported: ClassVar[set[tuple[str, str]]]
    results: ClassVar[list[Result]]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.results = matrix.run(cls.machine, cls.firmware)

    def check_servers_with_history(self, history: str) -> None:
        """Check that each rescue is derived without complaint, or refused."""
        results = [r for r in self.results if r.original.history == history]
        self.assertEqual(3 * 5 * 18, len(results))
        self.assertEqual([], [str(r) for r in results if r.complaints][:5])
        for result in results:
            expected = self.expected_message(result)
            self.assertRegex(result.message, expected, str(result))

    def expected_message(self, result: Result) -> str:
        """Return the pattern that a result's message must match."""
        original, device, bus = result.original, result.device, result.bus
        if (device, bus) not in self.supported:
            return rf"^a {device} (on bus {bus} )?is not possible .* supports disk on "
        # The disk or its controller needs a PCI slot (F15).
        needs_slot = bus in ("virtio", "usb") or (
            bus == "scsi" and original.scsi == "none"
        )
        if self.machine == "pc" and original.history == "full" and needs_slot:
            return "^no room is left on the machine's PCI buses$"
        return "^$"

    def test_rescues_without_history_are_derived_or_refused(self):
        self.check_servers_with_history("none")

    def test_rescues_with_a_hole_are_derived_or_refused(self):
        self.check_servers_with_history("hole")

    def test_rescues_with_a_filled_hole_are_derived_or_refused(self):
        self.check_servers_with_history("filled")

    def test_rescues_without_a_free_slot_are_derived_or_refused(self):
        self.check_servers_with_history("full")

    def test_support_page_has_the_section_of_these_results(self):
        section = support.section(self.machine, self.firmware, self.results)
        self.assertIn(section, support.PAGE.read_text(), _HOW_TO_UPDATE)

    def test_table_of_the_page_has_the_column_of_these_results(self):
        index = support.SERVERS.index((self.machine, self.firmware))
        shown = columns_of_the_page()[index]
        column = support.column(self.machine, self.firmware, self.results)
        self.assertEqual(column, shown, _HOW_TO_UPDATE)


class PcBiosTest(Matrix, base.TestCase):
    machine, firmware = "pc", "bios"
    supported: ClassVar = _PC | {_FLOPPY}


class PcUefiTest(Matrix, base.TestCase):
    machine, firmware = "pc", "uefi"
    supported: ClassVar = _PC


class Q35BiosTest(Matrix, base.TestCase):
    machine, firmware = "q35", "bios"
    supported: ClassVar = _Q35 | {_FLOPPY}


class Q35UefiTest(Matrix, base.TestCase):
    machine, firmware = "q35", "uefi"
    supported: ClassVar = _Q35


class Q35SecureBootTest(Matrix, base.TestCase):
    machine, firmware = "q35", "uefi secure boot"
    supported: ClassVar = _Q35


_TESTS = (PcBiosTest, PcUefiTest, Q35BiosTest, Q35UefiTest, Q35SecureBootTest)


class PcSecureBootTest(base.TestCase):
    def test_libvirt_rejects_secure_boot_on_pc(self):
        for original in matrix.originals("pc", "uefi secure boot"):
            with self.assertRaisesRegex(libvirt.libvirtError, "q35"):
                matrix.undefine(original.define())


class PageTest(base.TestCase):
    """The parts of the support page that need no results."""

    def test_support_page_has_introduction_and_other_machines(self):
        page = support.PAGE.read_text()
        table = support.grid(columns_of_the_page())
        beginning = support.INTRODUCTION + table + support.METHOD
        self.assertTrue(page.startswith(beginning), _HOW_TO_UPDATE)
        self.assertTrue(page.endswith(support.other_machines()), _HOW_TO_UPDATE)
        self.assertEqual(
            len(support.SERVERS) + 2, len(re.findall("^-+$", page, re.MULTILINE))
        )

    def test_grid_has_every_machine_and_only_what_one_supports(self):
        titles, *answers = rows_of_the_page()
        self.assertEqual(2 + len(support.SERVERS), len(titles))
        supported = PcBiosTest.supported | Q35BiosTest.supported
        self.assertEqual(supported, {(row[0], row[1]) for row in answers})
        for device, bus, *symbols in answers:
            for test, symbol in zip(_TESTS, symbols, strict=True):
                is_refused = symbol == support.REFUSED
                self.assertEqual((device, bus) not in test.supported, is_refused)

    def test_support_page_has_a_row_for_every_other_machine(self):
        rows = support.other_machines().split("* -")[2:]
        self.assertEqual(6, len(rows))
        self.assertIn("definition only", rows[0])
        for row in rows[1:]:
            self.assertRegex(row, "(?s)- no\n.* is not supported")


class Versions:
    """Every version of a machine that libvirt lists, with each supported pair."""

    family: ClassVar[str]
    supported: ClassVar[set[tuple[str, str]]]

    def test_rescues_on_every_machine_version_are_derived(self):
        capabilities = etree.fromstring(self.connection.getCapabilities())
        listed = capabilities.iterfind("guest/arch[@name='x86_64']//machine")
        name = re.compile(f"{self.family}|pc-{self.family.replace('pc', 'i440fx')}-.+")
        names = {machine.text for machine in listed if name.fullmatch(machine.text)}
        self.assertGreater(len(names), 10)
        pairs = tuple(sorted(self.supported))
        for name in sorted(names):
            original = Original(name, "bios", "hole", "two inputs", "gaps")
            for result in matrix.run_pairs(original, pairs):
                self.assertEqual(("", ()), (result.message, result.complaints), result)


class PcVersionsTest(Versions, base.TestCase):
    family = "pc"
    supported: ClassVar = PcBiosTest.supported


class Q35VersionsTest(Versions, base.TestCase):
    family = "q35"
    supported: ClassVar = Q35BiosTest.supported
