# SPDX-License-Identifier: Apache-2.0
"""The command line of tools/lab."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lab import chaos, commands, demo, tempest
from lab.config import STATE_VARIABLE, Lab, Options
from lab.errors import LabError
from lab.hypervisor import RELEASES
from lab.sandbox import exit_on_signals

DEFAULTS = Options()


def options_parser() -> argparse.ArgumentParser:
    """Return the options of ``up``, and of all commands that bring the lab up."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--driver",
        default=DEFAULTS.driver,
        help="Nova's compute_driver, such as libvirt.LibvirtDriver for stock rescue"
        " (default: %(default)s)",
    )
    parser.add_argument(
        "--nova",
        default=DEFAULTS.nova,
        metavar="VERSION",
        help="release of Nova (default: %(default)s)",
    )
    parser.add_argument(
        "--no-network",
        dest="network",
        action="store_false",
        help="leave Open vSwitch out; servers have no NIC",
    )
    parser.add_argument(
        "--backends",
        default=",".join(DEFAULTS.backends),
        metavar="LIST",
        help="volume backends: ceph, storpool, or 'none' (default: %(default)s)",
    )
    parser.add_argument(
        "--images-type",
        default=DEFAULTS.images_type,
        choices=("qcow2", "raw", "rbd"),
        help="Nova's images_type: local disks in files or in Ceph"
        " (default: %(default)s)",
    )
    parser.add_argument(
        "--as-root",
        action="store_true",
        help="run all services and QEMU as root, not as users of their own",
    )
    parser.add_argument(
        "--hypervisor",
        default=DEFAULTS.hypervisor,
        choices=("", *RELEASES),
        metavar="RELEASE",
        help="release of Debian whose libvirt and QEMU the lab has: "
        f"{', '.join(RELEASES)} (default: this machine's)",
    )
    return parser


def chosen(arguments: argparse.Namespace) -> Options:
    """Return the options of a command line."""
    backends = arguments.backends.replace("none", "")
    return Options(
        driver=arguments.driver,
        nova=arguments.nova,
        network=arguments.network,
        backends=tuple(filter(None, backends.split(","))),
        images_type=arguments.images_type,
        as_root=arguments.as_root,
        hypervisor=arguments.hypervisor,
    )


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = argparse.ArgumentParser(
        prog="tools/lab",
        description="Run a whole OpenStack on this machine to try stable rescue.",
    )
    top.add_argument(
        "--state",
        type=Path,
        default=None,
        help="the state folder"
        f" (default: ${STATE_VARIABLE}, or .lab in the repository)",
    )
    commands_ = top.add_subparsers(dest="command", required=True)
    shared = options_parser()
    commands_.add_parser("up", parents=[shared], help="bring the lab up")
    commands_.add_parser("down", help="end the lab and check that nothing is left")
    commands_.add_parser(
        "status", help="list the services; exit status 1 if one is not ready"
    )
    commands_.add_parser("env", help="print credentials, for eval in a shell")
    execute = commands_.add_parser("exec", help="run a command in the lab")
    execute.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    scene = commands_.add_parser(
        "demo", parents=[shared], help="rescue a server and show which devices moved"
    )
    demo.add_arguments(scene)
    reboot = commands_.add_parser(
        "host-reboot",
        parents=[shared],
        help="let the compute host fail, with servers in every state, and boot",
    )
    demo.add_reboot_arguments(reboot)
    check = commands_.add_parser(
        "tempest", parents=[shared], help="run the rescue tests of tempest"
    )
    tempest.add_arguments(check)
    chaos_ = commands_.add_parser(
        "chaos", parents=[shared], help="kill services while servers are rescued"
    )
    chaos.add_arguments(chaos_)
    return top


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return the exit status."""
    lab = Lab.open(arguments.state)
    match arguments.command:
        case "up":
            commands.up(lab, chosen(arguments))
        case "down":
            commands.down(lab)
        case "status":
            return 0 if commands.status(lab) else 1
        case "env":
            commands.environment(lab)
        case "exec":
            argv = arguments.argv
            return commands.execute(lab, argv[1:] if argv[:1] == ["--"] else argv)
        case "demo" | "host-reboot":
            return _in_lab(lab, arguments, demo.main)
        case "tempest":
            return _in_lab(lab, arguments, tempest.main)
        case "chaos":
            return _in_lab(lab, arguments, chaos.main)
    return 0


def _in_lab(
    lab: Lab,
    arguments: argparse.Namespace,
    play: Callable[[Lab, argparse.Namespace], int],
) -> int:
    """Run a command in the lab; take the lab down again if it was not up before."""
    keep = arguments.keep or lab.sandbox.running()
    try:
        commands.up(lab, chosen(arguments))
        return play(lab, arguments)
    finally:
        if not keep:
            commands.down(lab)


def clean_environment() -> None:
    """Remove variables of another cloud, and of this Python, from the environment."""
    for name in tuple(os.environ):
        if name.startswith(("OS_", "PYTHON")):
            del os.environ[name]


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    try:
        arguments = parser().parse_args(words)
        if os.geteuid() != 0:
            raise LabError("The lab needs root to make namespaces: use sudo.")
        clean_environment()
        exit_on_signals()
        return run(arguments)
    except LabError as error:
        return commands.fail(error)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
