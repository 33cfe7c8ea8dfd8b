# SPDX-License-Identifier: Apache-2.0
"""Run other programs: silently to look at something, printed to change something."""

import shlex
import subprocess
import sys

from rescue_tools import RescueError

#: In seconds. A disk that answers slowly must not hang a report for ever.
_LOOK_TIMEOUT = 120


class Commands:
    """Other programs, as far as the commands of this package need them."""

    def look(self, *words: str) -> str:
        """Return what a program prints that changes nothing; empty if it fails."""
        try:
            completed = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=_LOOK_TIMEOUT,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        if completed.returncode:
            return ""
        return completed.stdout.decode(errors="replace")

    def run(self, *words: str) -> None:
        """Print a command and run it on the caller's terminal.

        :raises RescueError: if the command fails
        """
        print(f"+ {shlex.join(words)}", flush=True)
        try:
            status = subprocess.run(words, check=False).returncode
        except OSError as error:
            raise RescueError(f"cannot run {words[0]}: {error.strerror}") from error
        if status:
            raise RescueError(f"{words[0]} failed with status {status}")

    def attempt(self, *words: str) -> bool:
        """Return True if a command that is printed and run succeeds."""
        try:
            self.run(*words)
        except RescueError as error:
            print(f"  {error}", file=sys.stderr, flush=True)
            return False
        return True
