# SPDX-License-Identifier: Apache-2.0
"""``tools/lab demo``: a server is rescued through the API, and its guest is asked.

The scene needs OpenStack's client libraries and the lab's loopback, so it is played in
the sandbox by the virtual environment's Python.
"""

from __future__ import annotations

import argparse

from lab import guest
from lab.config import Lab

#: What the demo proves: machine, device, bus ("" is the machine's own).
CASES = (
    *((machine, "disk", bus) for machine in ("q35", "pc") for bus in ("usb", "virtio")),
    *((machine, "disk", "scsi") for machine in ("q35", "pc")),
    *((machine, "cdrom", "") for machine in ("q35", "pc")),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the demo's own arguments to ``parser``."""
    parser.add_argument(
        "--bus",
        default="",
        help="hw_rescue_bus of the rescue image (default: usb for a disk, else none)",
    )
    parser.add_argument(
        "--device", default="disk", help="hw_rescue_device (default: %(default)s)"
    )
    parser.add_argument(
        "--machine",
        default="q35",
        choices=("q35", "pc"),
        help="the server's machine type (default: %(default)s)",
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help=f"all {len(CASES)} cases, one after the other, in place of one",
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave the lab up, for a look around"
    )


def main(lab: Lab, arguments: argparse.Namespace) -> int:
    """Play the scene in a lab that is up; return 0 if nothing moved."""
    bus = arguments.bus or ("usb" if arguments.device == "disk" else "")
    cases = CASES if arguments.all else [(arguments.machine, arguments.device, bus)]
    images = guest.build(lab.cache / "guest", lab.cache)
    command = [lab.bin("python"), "-m", "lab.demo.play", str(lab.state)]
    command += [str(images.original_qcow2), str(images.rescue_qcow2)]
    command += [str(images.rescue_iso), *("/".join(case) for case in cases)]
    environment = {**lab.credentials(), "PYTHONPATH": str(lab.repository)}
    return lab.sandbox.popen(command, env=environment).wait()
