# SPDX-License-Identifier: Apache-2.0
"""How long a guest takes to come up from a rescue disk on USB, against virtio.

Needs root and the sandbox of the integration tests. From the project's folder::

    python -m lab.sandbox --state .lab/benchmark --libvirtd -- \\
        python -m benchmarks.rescue_boot

The time is from libvirt's start of the domain to the end of the rescue system's
first inventory. Buses take turns, so that whatever else the machine does falls on
all of them alike.
"""

import argparse
import contextlib
import statistics
import time

from stable_rescue import plan
from stable_rescue.domain.document import Domain
from stable_rescue.domain.medium import Medium
from tests.integration import base
from tests.integration.scene import overlay

BUSES = ("virtio", "usb")


def seconds(server: base.Server, own: str, bus: str) -> float:
    """Return the seconds until the server's rescue on that bus has come up.

    :raises AssertionError: it does not, or something else is booted
    """
    with contextlib.ExitStack() as stack:
        folder = base.new_folder(stack.callback)
        disk = overlay(base.images().rescue_qcow2, folder / "disk.rescue")
        medium = Medium.from_file(str(disk), "qcow2")
        request = plan.RescueRequest("disk", bus)
        derived = plan.derive(Domain.parse(own), request, plan.RescueMedia(medium))
        server.define(derived.rescue.to_xml())
        stack.callback(server.stop)
        started = time.monotonic()
        server.start()
        seen = server.wait_for_inventory()
        taken = time.monotonic() - started
    if seen.image != "rescue":
        raise AssertionError(f"the rescue on {bus} booted: {seen.image}")
    return taken


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure how long rescues boot.")
    parser.add_argument("--machine", default="pc", choices=("pc", "q35"))
    parser.add_argument("--firmware", default="bios", choices=("bios", "uefi"))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    found: dict[str, list[float]] = {bus: [] for bus in BUSES}
    with contextlib.ExitStack() as stack:
        server = base.new_server(
            stack.callback, options.machine, firmware=options.firmware
        )
        own = server.definition()
        for _ in range(options.rounds):
            for bus in BUSES:
                found[bus].append(seconds(server, own, bus))
    print(f"{options.machine}, {options.firmware}: seconds until the rescue is up")
    medians = {bus: statistics.median(times) for bus, times in found.items()}
    for bus, times in found.items():
        each = " ".join(f"{taken:5.1f}" for taken in times)
        print(f"{bus:8} median {medians[bus]:5.1f}   rounds {each}")
    print(f"usb takes {medians['usb'] / medians['virtio']:.2f} times as long as virtio")


if __name__ == "__main__":
    main()
