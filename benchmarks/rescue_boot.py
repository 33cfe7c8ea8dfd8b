# SPDX-License-Identifier: Apache-2.0
"""Measure how long a guest takes to boot from a rescue disk on USB and on virtio.

This needs root and the sandbox of the integration tests. Run it from the project's
folder::

    python -m lab.sandbox --state .lab/benchmark --libvirtd -- \\
        python -m benchmarks.rescue_boot

A measurement begins when libvirt starts the domain and ends with the first inventory
of the rescue system. The buses take turns, so that other load on the machine affects
all of them alike.
"""

import argparse
import contextlib
import statistics
import time

from tests.integration import base

BUSES = ("virtio", "usb")


def seconds(server: base.Server, original_xml: str, bus: str) -> float:
    """Return the seconds until the rescue system on a bus has booted.

    :raises AssertionError: if the server boots another system
    """
    with contextlib.ExitStack() as stack:
        medium = base.rescue_medium(stack.callback, "disk")
        derived = base.derive(original_xml, "disk", bus, medium)
        server.define(derived.rescue.to_xml())
        stack.callback(server.stop)
        started = time.monotonic()
        server.start()
        inventory = server.wait_for_inventory()
        taken = time.monotonic() - started
    if inventory.image != "rescue":
        raise AssertionError(f"the rescue on {bus} booted {inventory.image}")
    return taken


def main() -> None:
    """Measure the buses in turns and print the times."""
    parser = argparse.ArgumentParser(
        description="Measure how long rescues take to boot."
    )
    parser.add_argument("--machine", default="pc", choices=("pc", "q35"))
    parser.add_argument("--firmware", default="bios", choices=("bios", "uefi"))
    parser.add_argument("--rounds", type=int, default=3, help="rescues per bus")
    options = parser.parse_args()
    times: dict[str, list[float]] = {bus: [] for bus in BUSES}
    with contextlib.ExitStack() as stack:
        server = base.new_server(
            stack.callback, options.machine, firmware=options.firmware
        )
        original_xml = server.definition()
        for _ in range(options.rounds):
            for bus in BUSES:
                times[bus].append(seconds(server, original_xml, bus))
    print(f"{options.machine}, {options.firmware}: seconds until the rescue is up")
    medians = {bus: statistics.median(taken) for bus, taken in times.items()}
    for bus, taken in times.items():
        rounds = " ".join(f"{time_:5.1f}" for time_ in taken)
        print(f"{bus:8} median {medians[bus]:5.1f}   rounds {rounds}")
    print(f"usb takes {medians['usb'] / medians['virtio']:.2f} times as long as virtio")


if __name__ == "__main__":
    main()
