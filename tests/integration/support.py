# SPDX-License-Identifier: Apache-2.0
"""Generates the manual's support matrix from a run of tests.integration.matrix.

``python -m tests.integration.support --write`` runs the matrix and writes the page. Run
it in the sandbox of the integration tests (CONTRIBUTING.rst shows how).
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence

from lab.sandbox import REPOSITORY
from stable_rescue.domain.medium import Medium
from stable_rescue.exception import Refused
from tests.integration import base, matrix, test_boots, test_uefi
from tests.integration.matrix import Result

PAGE = REPOSITORY / "doc" / "source" / "support-matrix.rst"

#: The machines and firmware of x86_64. libvirt supports secure boot on q35 only.
SERVERS = (
    ("pc", "bios"),
    ("pc", "uefi"),
    ("q35", "bios"),
    ("q35", "uefi"),
    ("q35", "uefi secure boot"),
)
_FIRMWARE = {"bios": "BIOS", "uefi": "UEFI", "uefi secure boot": "UEFI, secure boot"}

# Architecture, machine type and kind of servers that no test defines in libvirt.
_OTHER_MACHINES = (
    ("aarch64", "virt", "hvm"),
    ("ppc64le", "pseries", "hvm"),
    ("s390x", "s390-ccw-virtio", "hvm"),
    ("x86_64", "microvm", "hvm"),
    ("x86_64", "isapc", "hvm"),
    ("x86_64", "", "exe"),
)
_NAMES = {"exe": "an LXC container"}

BOOTED, DEFINED, REFUSED = "●", "○", "no"

INTRODUCTION = """\
==============
Support matrix
==============

.. This page is generated: python -m tests.integration.support --write

The properties ``hw_rescue_device`` and ``hw_rescue_bus`` of the rescue image choose
the rescue device and its bus. The machine and the firmware of the server decide what is
possible:

| ● supported, and booted in a guest
| ○ supported, and defined in libvirt
| no: refused, as is every device and bus that is not listed
| ¹ refused for some servers; the section of the machine says why

"""

METHOD = """
The tests
---------

This page shows the results of a run of the integration tests, which define every
combination in libvirt: each device on each bus, on servers with

* each machine and firmware;
* four histories: none, a volume unplugged (a hole), others plugged into its place,
  and no PCI slot (pc) or root port (q35) left free;
* three USB set-ups: no controller (model none), two input devices, xHCI;
* five virtio-scsi set-ups: none, units with gaps, 7, 16 and 26 units.

*Defined* means: libvirt accepts the rescue definition, validated against its schema,
and returns it unchanged; every device of the server keeps its properties and its
address; the rescue disk is the last disk on its bus; and the original definition, once
it is defined again, is the same to the byte. *Command line* means: QEMU gets the same
arguments for every device of the server, and one device to boot from, the rescue
device. *Booted* means: a guest with a hotplug history booted the rescue device and
found each original device at its address.

A test also defines each supported device and bus on every version of the two machine
types that libvirt lists.

The same tests have passed with the same results, so this page is right for both, with

* libvirt 9.0 and QEMU 7.2 of Debian 12 (``tox -e integration``);
* libvirt 11.3 and QEMU 10.0 of Debian 13 (``tox -e integration-trixie``).
"""


def column(
    machine: str, firmware: str, results: Sequence[Result]
) -> dict[tuple[str, str], str]:
    """Return the symbol of each device and bus on a machine and a firmware."""
    return {
        pair: _verdict(machine, firmware, pair, results)[0] for pair in matrix.PAIRS
    }


def grid(columns: Sequence[Mapping[tuple[str, str], str]]) -> str:
    """Return the page's table of all machines, without what each of them refuses.

    :param columns: of each of ``SERVERS``, in their order
    """
    rows = {pair: [symbols[pair] for symbols in columns] for pair in matrix.PAIRS}
    return "\n".join(
        (
            ".. list-table::",
            "   :header-rows: 1\n",
            _cells("Device", "Bus", *(_title(*server) for server in SERVERS)),
            *(
                _cells(*pair, *symbols)
                for pair, symbols in rows.items()
                if set(symbols) != {REFUSED}
            ),
            "",
        )
    )


def _title(machine: str, firmware: str) -> str:
    return f"{machine}, {_FIRMWARE[firmware]}"


def section(machine: str, firmware: str, results: Sequence[Result]) -> str:
    """Return the page's section on a machine and a firmware."""
    rows = [_row(machine, firmware, pair, results) for pair in matrix.PAIRS]
    title = _title(machine, firmware)
    return "\n".join(
        (
            f"\n{title}\n{'-' * len(title)}\n",
            ".. list-table::",
            "   :header-rows: 1",
            "   :widths: 10 10 10 70\n",
            _cells("Device", "Bus", "Supported", "How it is proven, or the message"),
            *rows,
            "",
        )
    )


def _row(
    machine: str, firmware: str, pair: tuple[str, str], results: Sequence[Result]
) -> str:
    symbol, remark = _verdict(machine, firmware, pair, results)
    return _cells(*pair, "no" if symbol == REFUSED else "yes", remark)


def _verdict(
    machine: str, firmware: str, pair: tuple[str, str], results: Sequence[Result]
) -> tuple[str, str]:
    """Return the symbol of a device and bus, and how that is proven, or the message."""
    device, bus = pair
    of_pair = [r for r in results if (r.device, r.bus) == pair]
    messages = sorted({r.message for r in of_pair if r.message})
    derived = [r for r in of_pair if not r.message and not r.complaints]
    if not derived:
        return REFUSED, "; ".join(messages)
    symbol, proof = DEFINED, f"defined, command line: {len(derived)} servers"
    if (machine, firmware, device, bus) in booted():
        symbol, proof = BOOTED, f"{proof}; booted in a guest"
    if device == "floppy":  # By test_floppy; no guest that reports devices fits.
        symbol, proof = BOOTED, f"{proof}; its boot sector was started"
    for message in messages:
        count = sum(r.message == message for r in of_pair)
        proof += f". {count} servers are refused: {message}"
    return (f"{symbol} ¹" if messages else symbol), proof


def _cells(*texts: str) -> str:
    return "\n".join(
        f"   {'  -' if column else '* -'} {text}" for column, text in enumerate(texts)
    )


def booted() -> set[tuple[str, str, str, str]]:
    """Return machine, firmware, device and bus of each rescue that a test boots.

    The names of the tests say what they boot: test_disk_on_usb_boots_...
    """
    rescues = set()
    for case in (*vars(test_boots).values(), *vars(test_uefi).values()):
        machine, options = getattr(case, "machine", ""), getattr(case, "options", {})
        for name in dir(case) if machine else ():
            if match := re.match(r"test_(disk|cdrom)_on_([a-z]+)_boots_", name):
                firmware = options.get("firmware", "bios")
                rescues.add((machine, firmware, *match.groups()))
    return rescues


def other_machines() -> str:
    """Return the page's section on all other machines."""
    rows = []
    for arch, machine, kind in _OTHER_MACHINES:
        name = _NAMES.get(kind) or f"{machine} ({arch})"
        derived, messages = [], set()
        for device, bus in matrix.PAIRS:
            try:
                derived.append(_derived(arch, machine, kind, device, bus))
            except Refused as refusal:
                messages.add(str(refusal))
        if derived:
            answer = "definition only"
            remark = f"{', '.join(derived)}. Not tested with libvirt or a guest."
        else:
            answer, remark = "no", "; ".join(sorted(messages))
        rows.append(_cells(name, answer, remark))
    return "\n".join(
        (
            "\nOther machines\n--------------\n",
            ".. list-table::",
            "   :header-rows: 1",
            "   :widths: 20 10 70\n",
            _cells("Machine", "Supported", "Devices, or the message"),
            *rows,
            "",
        )
    )


def _derived(arch: str, machine: str, kind: str, device: str, bus: str) -> str:
    original_xml = f"""\
<domain type='{"lxc" if kind == "exe" else "qemu"}'>
  <name>other</name><uuid>7f2b6e5c-3b1f-4c61-9a0e-0d5a4c7be001</uuid>
  <os><type arch='{arch}' machine='{machine}'>{kind}</type></os>
  <devices/>
</domain>"""
    medium = Medium.from_file("/nonexistent/disk.rescue")
    base.derive(original_xml, device, bus, medium)
    return f"{device} on {bus}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the whole matrix and print or write the page."""
    parser = argparse.ArgumentParser(description="Generate the support matrix.")
    parser.add_argument("--write", action="store_true", help="write the page")
    options = parser.parse_args(arguments)
    sections, columns, failed = "", [], []
    for machine, firmware in SERVERS:
        results = matrix.run(machine, firmware)
        failed += [result for result in results if result.complaints]
        sections += section(machine, firmware, results)
        columns.append(column(machine, firmware, results))
    page = INTRODUCTION + grid(columns) + METHOD + sections + other_machines()
    if failed:
        print("\n".join(map(str, failed)), file=sys.stderr)
        return 1
    if options.write:
        PAGE.write_text(page)
    else:
        print(page, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
