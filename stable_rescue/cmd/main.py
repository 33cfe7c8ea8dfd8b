# SPDX-License-Identifier: Apache-2.0
"""The stable-rescue command. ``stable-rescue plan`` needs nothing but lxml."""

import argparse
import importlib.metadata
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from stable_rescue import exception
from stable_rescue.cmd import on_host, plan
from stable_rescue.cmd.exits import (
    BUG,
    INTERRUPTED,
    NO_OUTPUT,
    NOT_FOUND,
    REFUSED,
    SUCCESS,
    USAGE,
    CommandError,
)


class _Parser(argparse.ArgumentParser):
    """A parser that exits with 64 on an error; argparse's 2 stands for a refusal."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


class _Version(argparse.Action):
    """Print the version and exit. It is only looked up if it is asked for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(nargs=0, help="show the version and exit", **options)

    def __call__(self, parser: argparse.ArgumentParser, *_arguments: Any) -> NoReturn:
        print(importlib.metadata.version("stable-rescue"))
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    main_parser = _Parser(prog="stable-rescue", description="Examine stable rescues.")
    main_parser.add_argument("--version", action=_Version)
    commands = main_parser.add_subparsers(title="commands", required=True)
    on_host.add_parsers(commands)
    plan.add_parser(commands)
    return main_parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status.

    The output goes to stdout, in UTF-8 whatever the locale. After an error, the reason
    is on stderr and stdout is empty, unless the error was to write to it.
    """
    main_parser = parser()
    if "_ARGCOMPLETE" in os.environ:
        _complete(main_parser)
    options = main_parser.parse_args(arguments)
    try:
        output = options.run(options)
    except exception.InvariantBroken as exc:
        return _fail(BUG, f"this is a bug in stable-rescue, please report it: {exc}")
    except exception.Refused as exc:
        return _fail(REFUSED, f"refused: {exc}")
    except exception.InvalidDomain as exc:
        return _fail(NOT_FOUND, str(exc))
    except CommandError as exc:
        return _fail(exc.status, str(exc))
    except KeyboardInterrupt:
        return _fail(INTERRUPTED, "interrupted")
    return _write(output.text) or output.status


def _complete(main_parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks for completions, and exit.

    argcomplete is optional, and is imported only if a shell asks.
    """
    import argcomplete

    argcomplete.autocomplete(main_parser)


def _write(output: str) -> int:
    """Write to stdout; return NO_OUTPUT if that fails, otherwise SUCCESS."""
    if sys.stdout is None:
        return _fail(NO_OUTPUT, "stdout is closed")
    try:
        sys.stdout.buffer.write(output.encode())
        sys.stdout.buffer.flush()
    except OSError as exc:
        # Python flushes stdout again at exit and would report the error there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # The reader of a pipe may stop when it has seen enough.
        if not isinstance(exc, BrokenPipeError):
            return _fail(NO_OUTPUT, f"cannot write to stdout: {exc.strerror}")
    return SUCCESS


def _fail(status: int, reason: str) -> int:
    print(f"stable-rescue: {reason}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
