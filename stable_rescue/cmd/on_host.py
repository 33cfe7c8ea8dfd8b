# SPDX-License-Identifier: Apache-2.0
"""The command lines of the commands that examine a compute host.

They need Nova and libvirt, so what they do is imported when they are run.
"""

import argparse
import importlib
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from stable_rescue.cmd.exits import UNAVAILABLE, CommandError, too_old_nova

_FORMATS = ("table", "json", "yaml", "csv")
#: How long a command waits for nova-compute without --timeout, in seconds.
TIMEOUT = 120


def add_parsers(commands: Any) -> None:
    """Add these commands to a parser's."""
    _add(
        commands,
        "list",
        "listing",
        "list the rescues on this host",
        "List the servers of this compute host that are in a rescue, or that have the "
        "record of one.",
    )
    show = _add(
        commands,
        "show",
        "show",
        "show all that this host knows about a rescue",
        "Show all that this compute host knows about the rescue of a server: the "
        "record, the steps, the files, the plan and the devices.",
        formats=("table", "json", "yaml"),
    )
    _add_server(show)
    verify = _add(
        commands,
        "verify",
        "verify",
        "check that a rescued server is what the rescue promises",
        "Compare the running definition of a rescued server with the original one, and "
        "check that the rescue disk was booted and the volumes are connected. Exit "
        "status: 0 if every check succeeds, 3 if not.",
    )
    _add_server(verify)
    report = _add(
        commands,
        "report",
        "report",
        "print what a rescue has done, for an investigator",
        "Print the report of a server's newest rescue on this compute host: who asked "
        "for it, the image, the disks and how they are used, the memory dump, and what "
        "has happened. The report remains after the unrescue.",
        formats=("table", "json", "yaml"),
    )
    report.add_argument(
        "--hash",
        action="store_true",
        help="read the server's disks and the memory dump, and print their sha256",
    )
    _add_server(report)
    clean = _add(
        commands,
        "clean",
        "clean",
        "remove what rescues of deleted servers left on this host",
        "List what rescues of deleted servers left on this compute host and in Nova's "
        "rbd pool; with --yes, remove it. Exit status: 0, or 3 if something could not "
        "be removed.",
    )
    clean.add_argument(
        "--yes",
        action="store_true",
        help="remove what is listed with the action remove",
    )
    clean.add_argument(
        "--dumps-older-than",
        metavar="DAYS",
        type=days,
        help="remove memory dumps of deleted servers as well, if they are older; "
        "without this option, memory dumps are listed and kept",
    )

    recover = _add(
        commands,
        "recover",
        "recover",
        "have nova-compute recover a server whose rescue was interrupted",
        "Have the running nova-compute of this host recover a server whose rescue or "
        "unrescue was interrupted, has stalled or has failed, without waiting until it "
        "does so by itself. Exit status: 0 if the server is recovered or needs no "
        "recovery, 3 if it cannot be recovered now.",
    )
    recover.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and do nothing"
    )
    recover.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=TIMEOUT,
        help=f"how long to wait for nova-compute's answer ({TIMEOUT}); after that, a "
        "request that nova-compute has not taken is withdrawn",
    )
    _add_server(recover)


def seconds(text: str) -> int:
    """Return the value of an option that is a number of seconds.

    :raises argparse.ArgumentTypeError: if it is none, or longer than a day
    """
    if not (text.isdecimal() and 1 <= int(text) <= 86400):
        raise argparse.ArgumentTypeError(f"{text!r} is not from 1 to 86400 seconds")
    return int(text)


def days(text: str) -> int:
    """Return the value of an option that is a number of days.

    :raises argparse.ArgumentTypeError: if it is none, or longer than a century
    """
    if not (text.isdecimal() and int(text) <= 36500):
        raise argparse.ArgumentTypeError(f"{text!r} is not from 0 to 36500 days")
    return int(text)


def _add_server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "server", metavar="SERVER", help="the UUID of a server, or its name in libvirt"
    )


def _add(
    commands: Any,
    name: str,
    module: str,
    help_: str,
    description: str,
    formats: Sequence[str] = _FORMATS,
) -> argparse.ArgumentParser:
    """Add a command; ``run`` of a module of this package carries it out."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=help_, description=description
    )
    parser.add_argument(
        *("-f", "--format"),
        choices=formats,
        default="table",
        help="table (the default) for people, the others for programs",
    )
    add_configuration(parser)
    parser.set_defaults(run=runner(module))
    return parser


def add_configuration(parser: argparse.ArgumentParser) -> None:
    """Add the options that name nova-compute's configuration to a parser."""
    parser.add_argument(
        "--config-file",
        metavar="FILE",
        dest="config_files",
        action="append",
        default=[],
        help="a configuration file to read instead of nova-compute's files; can be "
        "given several times",
    )
    parser.add_argument(
        "--config-dir",
        metavar="DIR",
        dest="config_dirs",
        action="append",
        default=[],
        help="a folder of configuration files to read as well; can be given several "
        "times",
    )


def runner(module: str) -> Callable[[argparse.Namespace], Any]:
    """Return a function that configures Nova and runs a module of this package.

    The function returns what ``run`` of the module returns. CommandError is raised if
    Nova is not installed, if the configuration is wrong, or if libvirt does not answer;
    other errors of the module propagate.
    """

    def run(options: argparse.Namespace) -> Any:
        with warnings.catch_warnings():
            if not sys.warnoptions:
                # Operators cannot act on what Nova's libraries say about themselves.
                warnings.simplefilter("ignore")
            host, command = _import("host"), _import(module)
            return host.run(command.run, options)

    return run


def _import(module: str) -> Any:
    try:
        return importlib.import_module(f"stable_rescue.cmd.{module}")
    except ImportError as exc:
        reason = too_old_nova() or (
            f"{exc}. This command needs Nova and libvirt; run the stable-rescue that "
            f"is installed beside nova-compute, not the one in {sys.prefix}"
        )
        raise CommandError(UNAVAILABLE, reason) from exc
