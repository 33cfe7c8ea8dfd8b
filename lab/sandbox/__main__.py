# SPDX-License-Identifier: Apache-2.0
"""The command line of ``python -m lab.sandbox``."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.errors import LabError
from lab.sandbox import Sandbox, exit_on_signals

#: Starts libvirtd and then becomes the command. Named and not imported: it is built on
#: the lab's services, and those are built on the sandbox.
LONE_LIBVIRTD = "lab.lone_libvirtd"
#: The exit status if COMMAND could not be run, as of timeout(1) and env(1).
CANNOT_RUN = 125


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="python -m lab.sandbox",
        description="Run a command in a new sandbox and leave nothing behind.",
    )
    top.add_argument(
        "--state", type=Path, required=True, help="folder for the sandbox's files"
    )
    top.add_argument(
        "--libvirtd", action="store_true", help="start virtlogd and libvirtd first"
    )
    top.add_argument(
        "--hypervisor",
        default="",
        metavar="RELEASE",
        help="release of Debian whose libvirtd and QEMU to use; see lab/hypervisor.py",
    )
    top.add_argument("command", nargs="+", metavar="-- COMMAND")
    return top


def main(words: Sequence[str] | None = None) -> int:
    """Run a command in a new sandbox and return its exit status."""
    arguments = parser().parse_args(words)
    arguments.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    sandbox = Sandbox(arguments.state)
    if sandbox.running():
        parser().error(f"a sandbox is already running in {arguments.state}")

    command = arguments.command
    if arguments.libvirtd:
        words = [str(sandbox.state), arguments.hypervisor, "--"]
        command = [sys.executable, "-m", LONE_LIBVIRTD, *words, *command]
    exit_on_signals()
    try:
        sandbox.start(die_with_parent=True)
        return sandbox.popen(command).wait()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except LabError as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return CANNOT_RUN
    finally:
        sandbox.stop()


if __name__ == "__main__":
    sys.exit(main())
