# SPDX-License-Identifier: Apache-2.0
"""The stable-rescue command. Only lxml is needed to run it."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from stable_rescue import exception
from stable_rescue.cmd import plan

# The exit statuses; the last two are from sysexits.h.
SUCCESS = 0
NO_DOMAIN = 1
REFUSED = 2
USAGE = 64
BUG = 70


class _Parser(argparse.ArgumentParser):
    """A parser that exits with 64 on an error; argparse's 2 stands for a refusal."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    main_parser = _Parser(prog="stable-rescue", description="Examine stable rescues.")
    commands = main_parser.add_subparsers(title="commands", required=True)
    plan.add_parser(commands)
    return main_parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status.

    The output goes to stdout, in UTF-8 whatever the locale. After an error, stdout is
    empty and the reason is on stderr.
    """
    options = parser().parse_args(arguments)
    try:
        output = options.run(options)
    except exception.InvariantBroken as exc:
        return _fail(BUG, f"this is a bug in stable-rescue, please report it: {exc}")
    except exception.Refused as exc:
        return _fail(REFUSED, f"refused: {exc}")
    except exception.InvalidDomain as exc:
        return _fail(NO_DOMAIN, str(exc))
    try:
        sys.stdout.buffer.write(output.encode())
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # Python flushes stdout again at exit and would report the error there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return SUCCESS


def _fail(status: int, reason: str) -> int:
    print(f"stable-rescue: {reason}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
