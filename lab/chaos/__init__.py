# SPDX-License-Identifier: Apache-2.0
"""``tools/lab chaos``: rescues and unrescues while services are killed under them.

Like the demo it needs OpenStack's client libraries and the lab's loopback, so it is
played in the sandbox by the virtual environment's Python.
"""

from __future__ import annotations

import argparse

from lab import guest
from lab.chaos.victims import VICTIMS
from lab.config import Lab


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``chaos`` to ``parser``."""
    parser.add_argument(
        "--runs",
        type=int,
        default=50,
        help="rescues and unrescues, a kill -9 in each (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=1,
        help="the same seed kills the same at the same moments (default: %(default)s)",
    )
    parser.add_argument(
        "--victims",
        default=",".join(VICTIMS),
        metavar="LIST",
        help="what is killed (default: %(default)s)",
    )
    parser.add_argument(
        "--crowd",
        type=int,
        default=0,
        metavar="SERVERS",
        help="in place of all that: so many servers rescued at once, then a rescue"
        " asked for together with delete, reboot and stop",
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave the lab up, for a look around"
    )


def main(lab: Lab, arguments: argparse.Namespace) -> int:
    """Play in a lab that is up; return 0 if no server was lost and nothing left."""
    images = guest.build(lab.cache / "guest", lab.cache)
    files = [str(images.original_qcow2), str(images.rescue_qcow2)]
    if arguments.crowd:
        words = ["lab.chaos.crowd", str(lab.state), *files, str(arguments.crowd)]
    else:
        words = ["lab.chaos.play", str(lab.state), *files]
        words += [str(arguments.runs), str(arguments.seed), arguments.victims]
    command = [lab.bin("python"), "-m", *words]
    environment = {**lab.credentials(), "PYTHONPATH": str(lab.repository)}
    return lab.sandbox.call(command, env=environment)
