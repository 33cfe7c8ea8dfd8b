# SPDX-License-Identifier: Apache-2.0
"""Running commands in the namespaces, in the foreground and in the background."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab import procfs
from lab.errors import LabError
from lab.sandbox.namespaces import REPOSITORY, Namespaces, first_child
from lab.sandbox.signals import send

#: For a command that is asked to end: it may have servers to delete.
CLEAN_UP_SECONDS = 120.0
#: The exit statuses of timeout(1) if the time was over, and if it had to use KILL.
TIMED_OUT = (124, 137)
OUTPUT_CHARACTERS = 4000


class Sandbox(Namespaces):
    """Namespaces in which commands can be run, from inside or outside."""

    def enter(self, cwd: Path | None = None) -> list[str]:
        """Return the words to put before a command so that it runs in the sandbox.

        :raises LabError: if the sandbox is not running
        """
        if self.inside():
            return []
        holder = self.holder()
        if holder is None:
            raise LabError("The lab is not running: start it with `tools/lab up`.")
        return [
            *("nsenter", f"--target={holder.pid}", "--mount", "--net", "--uts"),
            f"--pid=/proc/{holder.pid}/ns/pid_for_children",
            # Return to the root folder, if this is a chroot, and to the current folder.
            *("--root", "--", "env", f"--chdir={cwd or Path.cwd()}"),
        ]

    def popen(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> subprocess.Popen[Any]:
        """Start ``argv`` in the sandbox; ``env`` is added to the environment."""
        command = [*self.enter(cwd), *argv]
        where = cwd if self.inside() else None
        environment = {**inherited(), **(env or {})}
        return subprocess.Popen(command, cwd=where, env=environment, **options)

    def call(self, argv: Sequence[str], **options: Any) -> int:
        """Run ``argv`` in the sandbox; return its exit status.

        If this process gets a signal to end, ``argv`` gets SIGINT and time to clean up.
        """
        # A shell lets its background jobs ignore SIGINT, and children inherit that.
        process = self.popen(["env", "--default-signal=INT", *argv], **options)
        try:
            return process.wait()
        except KeyboardInterrupt:
            # The terminal has sent SIGINT to the command as well.
            _wait(process)
            raise
        except SystemExit:
            # nsenter forwards no signal.
            find = procfs.ProcessId.of if self.inside() else first_child
            command = find(process.pid)
            if command is not None:
                send(command, signal.SIGINT)
            _wait(process)
            raise

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
        seconds: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Run ``argv`` in the sandbox to its end and return its output as text.

        :param check: whether a failure raises LabError
        :raises LabError: with the output, if ``argv`` fails or takes longer than
            ``seconds``
        """
        # nsenter forwards no signal, so the time limit has to work inside.
        limited = ["timeout", "--kill-after=5", f"{seconds:g}", *argv]
        process = self.popen(
            limited,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        output, errors = process.communicate(stdin)
        if check and process.returncode:
            reason = (
                f"took longer than {seconds:g} seconds"
                if process.returncode in TIMED_OUT
                else f"failed with exit status {process.returncode}"
            )
            printed = (errors.strip() or output.strip())[-OUTPUT_CHARACTERS:]
            raise LabError(f"{' '.join(argv)}\n{reason}:\n{printed}")
        return subprocess.CompletedProcess(argv, process.returncode, output, errors)

    def spawn(
        self,
        argv: Sequence[str],
        *,
        pid_file: Path,
        log: Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Start ``argv`` in the background, in a new session.

        The output is appended to ``log``. The pid that the process has in the sandbox
        is written to ``pid_file``.

        :raises LabError: if ``argv`` cannot be executed
        """
        # daemonize needs a PYTHONPATH that the command must not get.
        path = {"PYTHONPATH": str(REPOSITORY)}
        environment = {**inherited(), **(env or {})}
        if "PYTHONPATH" in environment:
            restore = [f"PYTHONPATH={environment['PYTHONPATH']}"]
        else:
            restore = ["-u", "PYTHONPATH"]
        self.run(
            [
                *(sys.executable, "-m", "lab.sandbox.daemonize"),
                *(str(pid_file), str(log), "--", "env", *restore, *argv),
            ],
            cwd=cwd,
            env={**(env or {}), **path},
            seconds=30,
        )

    def alive(self, pid_file: Path) -> bool:
        """Return True if the process that ``spawn`` wrote to ``pid_file`` runs."""
        identity = procfs.ProcessId.read(pid_file)
        return identity is not None and identity.alive(self.proc)

    def terminate(self, pid_file: Path, seconds: float = 10) -> None:
        """End the process of ``pid_file`` with TERM, and its session with KILL."""
        identity = procfs.ProcessId.read(pid_file)
        if identity is not None and identity.alive(self.proc):
            pid = str(identity.pid)
            self.run(["kill", "-TERM", pid], check=False)
            deadline = time.monotonic() + seconds
            while identity.alive(self.proc) and time.monotonic() < deadline:
                time.sleep(0.05)
            # The children of uwsgi and Erlang may be left in the process group.
            self.run(["kill", "-KILL", "--", f"-{pid}"], check=False)
        pid_file.unlink(missing_ok=True)


def inherited() -> dict[str, str]:
    """Return the environment without what does not work in a sandbox.

    A proxy cannot be reached from the sandbox's loopback. The folders of daemons are
    added to PATH because ``su`` may have left them out.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy")
    }
    return kept | {"PATH": f"{kept.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"}


def _wait(process: subprocess.Popen[Any]) -> None:
    """Give a process that has been asked to end time to clean up."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(CLEAN_UP_SECONDS)
