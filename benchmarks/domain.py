# SPDX-License-Identifier: Apache-2.0
"""Measure how long a plan takes for domains of 10 to 1,000 disks.

Run it from the project's folder: ``python -m benchmarks.domain``. The sizes take turns,
so that other load on the machine affects all of them alike. CPU time is the cost of the
plan alone; wall time includes other load. F32 has results.
"""

import argparse
import gc
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

from stable_rescue import plan
from stable_rescue.domain.document import Domain
from stable_rescue.domain.medium import Medium

SIZES = (10, 100, 300, 1000)
BUSES = ("virtio", "scsi", "usb")
_MEDIA = plan.RescueMedia(
    Medium.from_file("/var/lib/nova/instances/x/disk.rescue", "qcow2")
)
_DISK = (
    "<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/>"
    "<source file='/images/{number}'/><target dev='{name}' bus='{bus}'/>{address}"
    "</disk>"
)
_PCI = (
    "<address type='pci' domain='0x0000' bus='0x{:02x}' slot='0x{:02x}' "
    "function='0x0'/>"
)
_DRIVE = "<address type='drive' controller='0' bus='0' target='{}' unit='{}'/>"


def scsi_disks(count: int) -> str:
    """Return a domain whose disks share one virtio-scsi controller."""
    devices = [
        "<controller type='pci' index='0' model='pci-root'/>",
        f"<controller type='scsi' index='0' model='virtio-scsi'>{_PCI.format(0, 4)}"
        "</controller>",
    ]
    for number, name in zip(range(count), _names("sd"), strict=False):
        address = _DRIVE.format(*divmod(number, 256))
        devices.append(
            _DISK.format(number=number, name=name, bus="scsi", address=address)
        )
    return _domain(devices)


def virtio_disks(count: int) -> str:
    """Return a domain whose disks are behind PCI bridges, 31 on each."""
    bridges = -(-count // 31)
    # Bridges that do not fit on bus 0 are behind the first bridge.
    places = [(0, slot) for slot in range(3, 30)] + [(1, s) for s in range(20, 32)]
    devices = ["<controller type='pci' index='0' model='pci-root'/>"]
    devices += [
        f"<controller type='pci' index='{index}' model='pci-bridge'>"
        f"{_PCI.format(bus, slot)}</controller>"
        for index, (bus, slot) in zip(range(1, bridges + 2), places, strict=False)
    ]
    free = [(index, slot) for index in range(2, bridges + 2) for slot in range(1, 32)]
    for number, name in zip(range(count), _names("vd"), strict=False):
        address = _PCI.format(*free[number])
        devices.append(
            _DISK.format(number=number, name=name, bus="virtio", address=address)
        )
    return _domain(devices)


def _names(prefix: str) -> Iterator[str]:
    letters = "abcdefghijklmnopqrstuvwxyz"
    heads = ("", *letters, *(a + b for a in letters for b in letters))
    return (prefix + head + letter for head in heads for letter in letters)


def _domain(devices: list[str]) -> str:
    return (
        "<domain type='kvm'><name>instance-00000001</name>"
        "<uuid>0f4b0a6e-7c3c-4d5e-9f60-5a1b2c3d4e35</uuid>"
        "<os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os>"
        "<devices>\n    " + "\n    ".join(devices) + "\n  </devices></domain>"
    )


SHAPES: dict[str, Callable[[int], str]] = {
    "scsi disks": scsi_disks,
    "virtio disks": virtio_disks,
}


def measure(definition: str, bus: str) -> tuple[float, float]:
    """Return the CPU time and wall time of one plan, in milliseconds."""
    request = plan.RescueRequest(bus=bus, gaps=True)
    gc.collect()  # what the plan before has left must not count
    cpu, wall = time.process_time(), time.perf_counter()
    plan.derive(Domain.parse(definition), request, _MEDIA)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return cpu * 1000, wall * 1000


def peak_kibibytes(definition: str, bus: str) -> float:
    """Return the most memory of Python objects that one plan holds at a time.

    lxml's own memory does not count: it is proportional to the definition.
    """
    tracemalloc.start()
    try:
        measure(definition, bus)
        return tracemalloc.get_traced_memory()[1] / 1024
    finally:
        tracemalloc.stop()


def samples(rounds: int) -> list[dict[str, Any]]:
    """Return the CPU milliseconds of each round, and the peak memory of one plan.

    There is a dictionary for each shape, rescue bus and number of disks.
    """
    rows: list[dict[str, Any]] = [
        {"shape": shape, "bus": bus, "disks": size, "cpu_ms": [], "definition": text}
        for shape, make in SHAPES.items()
        for bus in BUSES
        for size, text in ((size, make(size)) for size in SIZES)
    ]
    for row in rows:
        row["peak_kib"] = round(peak_kibibytes(row["definition"], row["bus"]), 1)
    for _round in range(rounds):
        for row in rows:
            cpu, _wall = measure(row["definition"], row["bus"])
            row["cpu_ms"].append(round(cpu, 3))
    for row in rows:
        del row["definition"]
    return rows


def main() -> None:
    """Print the medians for each shape, rescue bus and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="plans per size")
    rounds = parser.parse_args().rounds
    print("domain        rescue on  disks    CPU ms   wall ms   µs/disk   of 100's")
    for shape, make in SHAPES.items():
        for bus in BUSES:
            definitions = {size: make(size) for size in SIZES}
            for text in definitions.values():
                measure(text, bus)  # warm up
            times = [
                {size: measure(text, bus) for size, text in definitions.items()}
                for _round in range(rounds)
            ]
            _print(shape, bus, times)


def _print(shape: str, bus: str, times: list[dict[int, tuple[float, float]]]) -> None:
    medians = {
        size: [
            statistics.median(round_[size][clock] for round_ in times)
            for clock in (0, 1)
        ]
        for size in SIZES
    }
    base = medians[100][0] / 100
    for size, (cpu, wall) in medians.items():
        per_disk = cpu / size
        print(
            f"{shape:12}  {bus:9} {size:6} {cpu:9.2f} {wall:9.2f} "
            f"{per_disk * 1000:9.1f} {per_disk / base:9.2f}x"
        )


if __name__ == "__main__":
    main()
