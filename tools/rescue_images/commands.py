# SPDX-License-Identifier: Apache-2.0
"""Run commands, and print how far they are."""

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from elapsed import Clock

from rescue_images import ImageError

_INTERVAL = 0.5
#: In seconds: a step that takes longer says that it is still running.
_HEARTBEAT = 30.0
_GRACE = 10
_TAIL = 15


def run(
    log: Path, *command: str | Path, clock: Clock | None = None, input: str = ""
) -> None:
    """Run a command, and append what it prints to a log.

    :param clock: prints the lines of the log that begin with "I: ", as mmdebstrap's
        do, and once in a while that the command still runs
    :param input: what the command reads
    :raises ImageError: if the command fails; the message has the end of the log
    """
    words = [str(word) for word in command]
    with log.open("ab") as stream:
        stream.write(f"+ {shlex.join(words)}\n".encode())
        stream.flush()
        begin = stream.tell()
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise ImageError(f"{words[0]} is not installed") from error
    with _ended(process):
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(input.encode())
            process.stdin.close()
        if clock is None:
            process.wait()
        else:
            _follow(process, log, begin, clock)
    if process.returncode:
        tail = b"\n".join(log.read_bytes()[begin:].splitlines()[-_TAIL:])
        raise ImageError(
            f"{words[0]} failed with status {process.returncode}; its output is in"
            f" {log} and ends with\n{tail.decode(errors='replace')}"
        )


def _follow(
    process: subprocess.Popen[bytes], log: Path, begin: int, clock: Clock
) -> None:
    last = time.monotonic()
    while process.poll() is None:
        with log.open("rb") as stream:
            stream.seek(begin)
            text = stream.read()
        # A line that is not complete is read again.
        complete = text[: text.rfind(b"\n") + 1]
        begin += len(complete)
        for line in complete.splitlines():
            if line.startswith(b"I: ") and b"-hook" not in line:
                clock.say("  " + line[3:].decode(errors="replace"))
                last = time.monotonic()
        if time.monotonic() - last > _HEARTBEAT:
            clock.say("  still running")
            last = time.monotonic()
        time.sleep(_INTERVAL)


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End a command with its children, if the caller is interrupted."""
    try:
        yield
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def output_of(*command: str | Path) -> str:
    """Return what a command prints.

    :raises ImageError: if the command fails or is not installed
    """
    words: Sequence[str] = [str(word) for word in command]
    try:
        completed = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ImageError(f"{words[0]} is not installed") from error
    if completed.returncode:
        raise ImageError(f"{shlex.join(words)} failed: {completed.stderr.strip()}")
    return completed.stdout
