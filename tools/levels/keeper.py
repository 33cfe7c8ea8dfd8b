# SPDX-License-Identifier: Apache-2.0
"""Runs the command of a level and ends every process that it leaves behind.

``python keeper.py SECONDS COMMAND ...`` exits with the status of the command. The
keeper prints which processes the command left running, and fails if there are any; and
the CPU time of all processes.
SIGTERM ends the command and all that it started.
"""

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
#: The exit status after the time limit, as of timeout(1).
TIMED_OUT = 124


def children() -> set[int]:
    """Return the ids of this process's children, including adopted ones."""
    task = Path("/proc/self/task")
    return {
        int(pid)
        for thread in task.iterdir()
        for pid in (thread / "children").read_text().split()
    }


def reap(seconds: float = 5) -> list[str]:
    """End the processes that a level left running and return their command lines."""
    left: list[str] = []
    deadline = time.monotonic() + seconds
    while alive := children():
        for pid in alive:
            if os.waitpid(pid, os.WNOHANG)[0] == pid:
                continue
            overdue = time.monotonic() > deadline
            command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
            if not overdue and command not in left:
                left.append(command)
            os.kill(pid, signal.SIGKILL if overdue else signal.SIGTERM)
        time.sleep(0.1)
    return left


def end(process: subprocess.Popen[bytes]) -> None:
    """End a command that still runs, with SIGTERM first and then with SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)


def main(seconds: float, command: list[str]) -> int:
    """Run the command to its end or to its time limit; return the exit status."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    # A process that the command leaves running becomes a child of this one.
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    process = None
    try:
        # A signal may arrive when the command runs and its process is not known yet.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, start_new_session=True
        )
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        # The command may have been ended in the middle of a line.
        print(f"\nended after its time limit of {seconds:.0f} s", flush=True)
        status = TIMED_OUT
    finally:
        # A second signal must not interrupt this.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if process is not None:
            end(process)
        left = reap()
    for line in left:
        print(f"left this process running: {line}", flush=True)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = usage.ru_utime + usage.ru_stime
    print(f"used {used:.0f} s of CPU time", flush=True)
    return status or int(bool(left))


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
