# SPDX-License-Identifier: Apache-2.0
"""``tools/lab chaos``: rescue and unrescue servers while services are killed.

A *victim* is a service that is killed with ``kill -9`` and started again. A *run* is
one rescue or unrescue of one server with one kill. The *schedule* follows from a seed.
After each run the *judge* compares *views* of the server: what the API and the host
show. A *mark* is a pattern that chaos has written to a disk. An *operator* runs the
commands of ``stable-rescue`` meanwhile. ``crowd`` is another play:
many rescues at once, and rescues that compete with other actions.

Like the demo, chaos needs OpenStack's client libraries and the lab's loopback. So
``play`` and ``crowd`` run in the sandbox with the virtual environment's Python.
"""

from __future__ import annotations

import argparse

from lab import guest
from lab.config import Lab
from lab.services.victims import VICTIMS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``chaos`` to ``parser``."""
    parser.add_argument(
        "--runs",
        type=int,
        default=50,
        help="number of rescues and unrescues, with one kill -9 in each"
        " (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=1,
        help="decides what is killed and when (default: %(default)s)",
    )
    parser.add_argument(
        "--victims",
        default=",".join(VICTIMS),
        metavar="LIST",
        help="services to kill (default: %(default)s)",
    )
    parser.add_argument(
        "--crowd",
        type=int,
        default=0,
        metavar="SERVERS",
        help="kill nothing; instead rescue this many servers at once, then request a"
        " rescue together with delete, reboot, stop, rescue and unrescue",
    )
    parser.add_argument(
        "--commands",
        action="store_true",
        help="run the commands of stable-rescue meanwhile and judge how they end; at"
        " last, delete a rescued server of a dead host and clean up what is left",
    )
    parser.add_argument("--keep", action="store_true", help="leave the lab up")


def main(lab: Lab, arguments: argparse.Namespace) -> int:
    """Run chaos in a lab that is up; return 0 if no server and nothing else is lost."""
    images = guest.build(lab.cache / "guest", lab.cache)
    files = [str(images.original_qcow2), str(images.rescue_qcow2)]
    if arguments.crowd:
        words = ["lab.chaos.crowd", str(lab.state), *files, str(arguments.crowd)]
    else:
        words = ["lab.chaos.play", str(lab.state), *files]
        words += [str(arguments.runs), str(arguments.seed), arguments.victims]
        words += ["commands"] if arguments.commands else []
    command = [lab.bin("python"), "-m", *words]
    environment = {**lab.credentials(), "PYTHONPATH": str(lab.repository)}
    return lab.sandbox.call(command, env=environment)
