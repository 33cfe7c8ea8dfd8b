# SPDX-License-Identifier: Apache-2.0
"""Start a command in the background.

``python -m lab.sandbox.daemonize PIDFILE LOG -- COMMAND ...`` returns as soon as the
command has been executed. If it cannot be executed, the exit status is 1 and a message
says why. The command becomes a child of the first process of its PID namespace.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lab import procfs


def execute(pid_file: Path, log: Path, argv: list[str], errors: int) -> None:
    """Become ``argv``; if that fails, write the reason to descriptor ``errors``."""
    try:
        os.setsid()
        os.umask(0o022)
        null = os.open(os.devnull, os.O_RDONLY)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for source, target in ((null, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        identity = procfs.ProcessId.of(os.getpid())
        assert identity is not None
        identity.write(pid_file)
        os.execvp(argv[0], argv)
    except OSError as error:
        os.write(errors, f"{argv[0]}: {error}".encode())
    os._exit(127)


def main(arguments: list[str]) -> int:
    """Return 0 if the command runs, 1 if it could not be executed."""
    pid_file, log, dashes, *argv = arguments
    if dashes != "--" or not argv:
        raise SystemExit(__doc__)
    # The kernel closes the pipe when the command is executed: no text means success.
    reading, writing = os.pipe()
    if os.fork() == 0:
        execute(Path(pid_file), Path(log), argv, writing)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        failure = pipe.read()
    if failure:
        print(failure, file=sys.stderr)
    return 1 if failure else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
