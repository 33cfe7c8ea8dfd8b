# SPDX-License-Identifier: Apache-2.0
"""The processes of levels, which end when tools/test ends; and its messages."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

from elapsed import Clock

KEEPER = Path(__file__).with_name("keeper.py")
#: For the keeper of an interrupted level: it asks a process to end, then kills it.
END_SECONDS = 90
#: Prints a message with the seconds since the start.
say = Clock().say


def tail(log: Path, lines: int = 30) -> str:
    """Return the end of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


class EndedError(Exception):
    """The run has been interrupted, so no process is started any more."""


class Processes:
    """The running processes, for any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._ended = False

    def start(
        self,
        command: list[str],
        environ: dict[str, str],
        cwd: Path | None = None,
        seconds: float = 7200,
        output: int | IO[str] = subprocess.PIPE,
    ) -> subprocess.Popen[str]:
        """Start a command that ends with all its children.

        :param seconds: the time limit
        :raises EndedError: `end` has been called
        """
        keeper = [sys.executable, str(KEEPER), str(seconds), *command]
        with self._lock:
            if self._ended:
                raise EndedError
            process = subprocess.Popen(
                keeper,
                cwd=cwd,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
            self._running.add(process)
        return process

    def wait(self, process: subprocess.Popen[str]) -> int:
        """Return the exit status of a process once it has ended.

        :raises EndedError: `end` has been called
        """
        status = process.wait()
        with self._lock:
            self._running.discard(process)
            if self._ended:
                raise EndedError
        return status

    def run(
        self, command: list[str], environ: dict[str, str], log: Path, cwd: Path
    ) -> int:
        """Run a command with its output in a log; return its exit status."""
        with log.open("w") as output:
            return self.wait(self.start(command, environ, cwd, output=output))

    def end(self) -> None:
        """End all processes; no other is started afterwards."""
        with self._lock:
            self._ended = True
            running = list(self._running)
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
