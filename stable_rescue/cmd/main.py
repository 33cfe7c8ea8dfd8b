# SPDX-License-Identifier: Apache-2.0
"""stable-rescue: the operator's command. It needs nothing but lxml."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from stable_rescue import exception
from stable_rescue.cmd import plan

# What the command ends with; the last two are those of sysexits.h.
DONE = 0
NO_DOMAIN = 1
REFUSED = 2
USAGE = 64
OUR_FAULT = 70


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are told apart from a refusal, which ends with 2."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    found = _Parser(
        prog="stable-rescue", description="Look at rescues that move no device."
    )
    commands = found.add_subparsers(title="commands", required=True)
    plan.add_parser(commands)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return what the process ends with.

    What it found goes to stdout, in UTF-8 whatever the locale, and only if all is
    well; what went wrong goes to stderr.
    """
    options = parser().parse_args(arguments)
    try:
        output = options.run(options)
    except exception.InvariantBroken as exc:
        return _failed(OUR_FAULT, f"a fault of stable-rescue, please report it: {exc}")
    except exception.Refused as exc:
        return _failed(REFUSED, f"refused: {exc}")
    except exception.InvalidDomain as exc:
        return _failed(NO_DOMAIN, str(exc))
    try:
        sys.stdout.buffer.write(output.encode())
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # The reader has seen enough; without this Python complains at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DONE


def _failed(status: int, reason: str) -> int:
    print(f"stable-rescue: {reason}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
