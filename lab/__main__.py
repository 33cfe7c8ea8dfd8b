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
from lab.sandbox import exit_when_told

DEFAULTS = Options()


def options_parser() -> argparse.ArgumentParser:
    """Return the options that say what a lab is to be, for ``up`` and ``demo``."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--driver",
        default=DEFAULTS.driver,
        help="compute_driver, such as libvirt.LibvirtDriver (default: %(default)s)",
    )
    parser.add_argument(
        "--nova",
        default=DEFAULTS.nova,
        metavar="VERSION",
        help="release of Nova, with matching services (default: %(default)s)",
    )
    parser.add_argument(
        "--no-network",
        dest="network",
        action="store_false",
        help="no Open vSwitch: servers have no NIC",
    )
    parser.add_argument(
        "--backends",
        default=",".join(DEFAULTS.backends),
        metavar="LIST",
        help="volume backends, or 'none' (default: %(default)s)",
    )
    parser.add_argument(
        "--images-type",
        default=DEFAULTS.images_type,
        choices=("qcow2", "raw", "rbd"),
        help="where servers' own disks are: files, or Ceph (default: %(default)s)",
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
    )


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = argparse.ArgumentParser(
        prog="tools/lab",
        description="A whole OpenStack on this machine's loopback, for stable_rescue.",
        epilog=f"State lies in .lab/ of the repository, or in ${STATE_VARIABLE}.",
    )
    top.add_argument("--state", type=Path, default=None, help="the state folder")
    commands_ = top.add_subparsers(dest="command", required=True)
    shared = options_parser()
    commands_.add_parser("up", parents=[shared], help="bring the lab up")
    commands_.add_parser("down", help="end it; nothing is left")
    commands_.add_parser("status", help="what runs; exit status 1 if not all does")
    commands_.add_parser("env", help="credentials, for eval in a shell")
    execute = commands_.add_parser("exec", help="run a command in the lab")
    execute.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    scene = commands_.add_parser(
        "demo", parents=[shared], help="rescue a server and show what moved"
    )
    demo.add_arguments(scene)
    check = commands_.add_parser(
        "tempest", parents=[shared], help="run our tempest plugin, and tempest's own"
    )
    tempest.add_arguments(check)
    storm = commands_.add_parser(
        "chaos", parents=[shared], help="kill services while servers are rescued"
    )
    chaos.add_arguments(storm)
    return top


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line says; return the exit status."""
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
        case "demo":
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
    """Play something; a lab that was not up before is taken down again."""
    keep = arguments.keep or lab.sandbox.running()
    try:
        commands.up(lab, chosen(arguments))
        return play(lab, arguments)
    finally:
        if not keep:
            commands.down(lab)


def clean_environment() -> None:
    """Drop variables meant for this program, or for another cloud, from services'."""
    for name in tuple(os.environ):
        if name.startswith(("OS_", "PYTHON")):
            del os.environ[name]


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    try:
        arguments = parser().parse_args(words)
        if os.geteuid() != 0:
            raise LabError("The lab needs root, for its namespaces: use sudo.")
        clean_environment()
        exit_when_told()
        return run(arguments)
    except LabError as error:
        return commands.fail(error)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
