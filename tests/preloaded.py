# SPDX-License-Identifier: Apache-2.0
"""Processes of stestr that are forks of one process, which has imported the tests.

stestr starts a process to list the tests, and one for each worker. Each would import
all tests, and with them Nova, which takes several seconds of CPU time.
"""

import gc
import io
import os
import shlex
import socket
import subprocess
import sys
import unittest

# The imported tests may let eventlet replace these functions by others, which poll.
from os import fork, waitpid
from typing import IO

from stestr.subunit_runner import run

#: What a request may be long: the words of a command, with two paths.
_REQUEST_BYTES = 65536


class Forked:
    """A process for a command of stestr, with as much of Popen as stestr uses."""

    def __init__(self, output: int, status: int) -> None:
        self.stdin = io.BytesIO()  # stestr closes it
        self.stdout: IO[bytes] = os.fdopen(output, "rb")
        self._status: IO[bytes] = os.fdopen(status, "rb")
        self.returncode: int | None = None

    def wait(self) -> int:
        """Wait for the process to end; return its status, negative for a signal."""
        if self.returncode is None:
            with self._status:
                # Nothing was written if the machine has run out of memory.
                self.returncode = int(self._status.read() or 1)
        return self.returncode

    def communicate(self) -> tuple[bytes, None]:
        """Return all that the process has written, and None, once it has ended."""
        with self.stdout:
            output = self.stdout.read()
        self.wait()
        return output, None


class Preloaded:
    """The process that has imported the tests; it ends with the one that uses it."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    def start(self, command: str) -> Forked:
        """Start a fork that runs a command of stestr with its arguments.

        With the first command, the tests in its folder are imported.
        """
        words = shlex.split(command)
        arguments = words[words.index("discover") :]
        if self._socket is None:
            self._socket = self._start_server(arguments)
        output, output_end = os.pipe()
        status, status_end = os.pipe()
        request = "\0".join(arguments).encode()
        socket.send_fds(self._socket, [request], [output_end, status_end])
        os.close(output_end)
        os.close(status_end)
        return Forked(output, status)

    @staticmethod
    def _start_server(arguments: list[str]) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        _, _, top, path, *_ = arguments  # discover -t TOP PATH
        descriptor = str(theirs.fileno())
        subprocess.Popen(
            [sys.executable, "-m", __name__, descriptor, top, path],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        return ours


def arguments_of_fork(requests: socket.socket) -> list[str]:
    """Fork for each request, and return the request's arguments in the fork.

    What the fork prints is the request's output. This process never returns.
    """
    while True:
        request, descriptors, *_ = socket.recv_fds(requests, _REQUEST_BYTES, 2)
        if not request:
            os._exit(0)
        if fork() == 0:
            requests.close()
            _watch_fork(*descriptors)
            _leave_hub()
            return request.decode().split("\0")
        for descriptor in descriptors:
            os.close(descriptor)


def _watch_fork(output: int, status: int) -> None:
    """Return in a fork of this process, which waits for it and reports its status."""
    if child := fork():
        os.close(output)
        _, result = waitpid(child, 0)
        os.write(status, str(os.waitstatus_to_exitcode(result)).encode())
        os._exit(0)
    os.close(status)
    os.dup2(output, sys.stdout.fileno())
    os.close(output)


def _leave_hub() -> None:
    """Let eventlet make a new hub, if an import has made one.

    The forks would share the epoll instance of that hub, and each would take events
    that another one waits for.
    """
    if hubs := sys.modules.get("eventlet.hubs"):
        hubs.use_hub()


def main() -> None:
    """Import the tests; each fork then runs a command of stestr."""
    _, descriptor, top, path = sys.argv
    requests = socket.socket(fileno=int(descriptor))
    # An import that fails is reported by the fork that lists the tests.
    unittest.TestLoader().discover(path, top_level_dir=top)
    # The garbage collector need not look at what has been imported. With Python's
    # thresholds it takes 6 % of the CPU time of functional tests, and finds little.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    sys.argv = [run.__file__, *arguments_of_fork(requests)]
    run.main()


if __name__ == "__main__":
    main()
