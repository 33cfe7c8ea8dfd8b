# SPDX-License-Identifier: Apache-2.0
"""The manual's page of what is supported, made from a run of the matrix.

``python -m tests.integration.support --write`` runs it all and writes the page; it
wants the sandbox of the integration tests around it (CONTRIBUTING).
"""

import argparse
import re
import sys
from collections.abc import Sequence

from lab.sandbox import REPOSITORY
from stable_rescue import plan
from stable_rescue.domain.medium import Medium
from stable_rescue.exception import Refused
from tests.integration import matrix, test_boots, test_uefi
from tests.integration.matrix import Result

PAGE = REPOSITORY / "doc" / "source" / "support-matrix.rst"

#: What libvirt can be asked for on x86_64. Secure boot needs q35.
SERVERS = (
    ("pc", "bios"),
    ("pc", "uefi"),
    ("q35", "bios"),
    ("q35", "uefi"),
    ("q35", "uefi secure boot"),
)
_FIRMWARE = {"bios": "BIOS", "uefi": "UEFI", "uefi secure boot": "UEFI, secure boot"}

# Arch, machine type and kind of what no test here can define with an emulator.
_OTHERS = (
    ("aarch64", "virt", "hvm"),
    ("ppc64le", "pseries", "hvm"),
    ("s390x", "s390-ccw-virtio", "hvm"),
    ("x86_64", "microvm", "hvm"),
    ("x86_64", "isapc", "hvm"),
    ("x86_64", "", "exe"),
)
_NAMES = {"exe": "an LXC container"}

_HEAD = """\
==============
Support matrix
==============

.. This page is generated: python -m tests.integration.support --write

A rescue device and its bus come from the rescue image's properties
``hw_rescue_device`` and ``hw_rescue_bus``. What follows is the outcome of a run of
the integration tests, which put every combination to libvirt: each device on each
bus, on servers of

* each machine and firmware below;
* four histories: none, a volume unplugged (a hole), others plugged into its place,
  and no PCI slot (pc) or root port (q35) left free;
* three ways of USB: no controller (model none), two input devices, xHCI;
* five ways of virtio-scsi: none, units with gaps, 7, 16 and 26 units.

*Defined* means: libvirt takes the rescue definition, checked against its schema, and
gives it back unchanged; every device of the server is what and where it was; the
rescue disk is the last on its bus; and the server's own definition, defined back, is
the same to the byte. *Command line* means: QEMU is told of every device of the server
what it was told before, and to boot one, the rescue device. *Booted* means: a guest
with a history of plugging booted the rescue device and found each of its own devices
in its old place.

The same holds for every version of the two machine types that libvirt lists: each bus
and each device is defined on each of them by a test.
"""


def section(machine: str, firmware: str, results: Sequence[Result]) -> str:
    """Return the page's section on a machine and a firmware."""
    rows = [_row(machine, firmware, pair, results) for pair in matrix.PAIRS]
    title = f"{machine}, {_FIRMWARE[firmware]}"
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
    device, bus = pair
    found = [r for r in results if (r.device, r.bus) == pair]
    messages = sorted({r.message for r in found if r.message})
    derived = [r for r in found if not r.message and not r.complaints]
    if not derived:
        return _cells(device, bus, "no", "; ".join(messages))
    proof = f"defined, command line: {len(derived)} servers"
    if (machine, firmware, device, bus) in booted():
        proof += "; booted in a guest"
    if device == "floppy":  # test_floppy: too small for a guest that tells more
        proof += "; its boot sector was started"
    for message in messages:
        times = sum(r.message == message for r in found)
        proof += f". {times} servers are refused: {message}"
    return _cells(device, bus, "yes", proof)


def _cells(*texts: str) -> str:
    return "\n".join(
        f"   {'  -' if place else '* -'} {text}" for place, text in enumerate(texts)
    )


def booted() -> set[tuple[str, str, str, str]]:
    """Return machine, firmware, device and bus of each rescue that a test boots."""
    found = set()
    for case in (*vars(test_boots).values(), *vars(test_uefi).values()):
        machine, options = getattr(case, "machine", ""), getattr(case, "options", {})
        for name in dir(case) if machine else ():
            if known := re.fullmatch(r"test_(disk|cdrom|floppy)_on_(\w+)", name):
                firmware = options.get("firmware", "bios")
                found.add((machine, firmware, *known.groups()))
    return found


def others() -> str:
    """Return the page's section on all other machines."""
    rows = []
    for arch, machine, kind in _OTHERS:
        name = _NAMES.get(kind) or f"{machine} ({arch})"
        taken, messages = [], set()
        for device, bus in matrix.PAIRS:
            try:
                taken.append(_derived(arch, machine, kind, device, bus))
            except Refused as refusal:
                messages.add(str(refusal))
        if taken:
            answer = "definition only"
            said = f"{', '.join(taken)}. No guest and no libvirt has tried it."
        else:
            answer, said = "no", "; ".join(sorted(messages))
        rows.append(_cells(name, answer, said))
    return "\n".join(
        (
            "\nOther machines\n--------------\n",
            ".. list-table::",
            "   :header-rows: 1",
            "   :widths: 20 10 70\n",
            _cells("Machine", "Supported", "What it takes, or the message"),
            *rows,
            "",
        )
    )


def _derived(arch: str, machine: str, kind: str, device: str, bus: str) -> str:
    definition = f"""\
<domain type='{"lxc" if kind == "exe" else "qemu"}'>
  <name>other</name><uuid>7f2b6e5c-3b1f-4c61-9a0e-0d5a4c7be001</uuid>
  <os><type arch='{arch}' machine='{machine}'>{kind}</type></os>
  <devices/>
</domain>"""
    medium = Medium.from_file("/nonexistent/disk.rescue")
    plan.derive(definition, plan.RescueRequest(device, bus), medium)
    return f"{device} on {bus}"


def head() -> str:
    """Return the page's introduction."""
    return _HEAD


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the whole matrix and print the page, or write it."""
    parser = argparse.ArgumentParser(description="Make the support matrix.")
    parser.add_argument("--write", action="store_true", help="write the page")
    options = parser.parse_args(arguments)
    page, wrong = head(), []
    for machine, firmware in SERVERS:
        results = matrix.run(machine, firmware)
        wrong += [result for result in results if result.complaints]
        page += section(machine, firmware, results)
    page += others()
    if wrong:
        print("\n".join(map(str, wrong)), file=sys.stderr)
        return 1
    if options.write:
        PAGE.write_text(page)
    else:
        print(page, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
