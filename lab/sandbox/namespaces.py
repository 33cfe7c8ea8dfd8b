# SPDX-License-Identifier: Apache-2.0
"""Making the namespaces, finding them again, and ending them."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from lab import loops, procfs
from lab.errors import LabError
from lab.sandbox.signals import send

REPOSITORY = Path(__file__).resolve().parent.parent.parent
#: The first process of the namespaces.
INIT = Path(__file__).with_name("init.py")
STOP_SECONDS = 20.0
PR_SET_PDEATHSIG = 1


class Namespaces:
    """The namespaces whose files lie in ``state``.

    They exist as long as their holder runs: the process of unshare(1) on the host.
    """

    def __init__(self, state: Path) -> None:
        self.state = state.resolve()
        self.folder = self.state / "sandbox"
        self.holder_file = self.state / "sandbox.pid"
        #: The holder, if this process has started it and has to reap it.
        self._started: subprocess.Popen[bytes] | None = None

    # -- whether they exist, and whether this process is in them ------------------

    def holder(self) -> procfs.ProcessId | None:
        """Return the host's process that holds the namespaces, None if none runs."""
        identity = procfs.ProcessId.read(self.holder_file)
        return identity if identity and identity.alive() else None

    def inside(self) -> bool:
        """Return True if this process runs in the namespaces."""
        try:
            here = Path("/proc/self/ns/mnt").readlink()
            return (self.folder / "mnt").read_text() == str(here)
        except OSError:
            return False

    def running(self) -> bool:
        """Return True if commands can be run in the namespaces."""
        return self.inside() or self.holder() is not None

    @property
    def proc(self) -> Path:
        """The /proc that shows processes under their pids in the namespaces."""
        if self.inside():
            return procfs.HOST_PROC
        holder = self.holder()
        # Without a holder there are no processes: return a folder that does not exist.
        return Path(f"/proc/{holder.pid}/root/proc") if holder else Path("/nonexistent")

    # -- life ---------------------------------------------------------------------

    def start(self, *, die_with_parent: bool = False) -> None:
        """Create the namespaces; do nothing if they exist.

        :raises LabError: if the user is not root or the kernel refuses
        """
        if self.running():
            return
        if os.geteuid() != 0:
            raise LabError("The sandbox needs root to make namespaces: use sudo.")
        self.clean()
        (self.state / "log").mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(mode=0o700)
        reading, writing = os.pipe()
        log = self.state / "log" / "sandbox.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [
                    *("unshare", "--mount", "--net", "--pid", "--uts", "--fork"),
                    *("--kill-child", "--mount-proc", "--propagation", "private"),
                    *(sys.executable, str(INIT), str(self.folder), str(writing)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                pass_fds=(writing,),
                start_new_session=True,
                preexec_fn=_die_with_parent if die_with_parent else None,
            )
        os.close(writing)
        # Do not read to the end of file: unshare keeps the pipe open while it runs.
        ready = os.read(reading, 16) == b"ready"
        os.close(reading)
        identity = procfs.ProcessId.of(process.pid)
        if not ready or identity is None:
            process.kill()
            process.wait(STOP_SECONDS)
            raise LabError(
                f"Cannot make the namespaces:\n{log.read_text().strip()}\n"
                "The lab needs mount, network and PID namespaces: run it as root, and"
                " not in a container without CAP_SYS_ADMIN."
            )
        namespace = Path(f"/proc/{process.pid}/ns/mnt").readlink()
        (self.folder / "mnt").write_text(str(namespace))
        identity.write(self.holder_file)
        self._started = process

    def stop(self) -> None:
        """End every process, mount and interface in the namespaces; idempotent.

        :raises LabError: if a process does not end
        """
        holder = self.holder()
        if holder is not None:
            first = first_child(holder.pid)
            if first is not None:
                send(first, signal.SIGTERM)
                self._wait_for(first, holder, STOP_SECONDS / 2)
            send(holder, signal.SIGKILL)  # takes the first process with it
            self._wait_for(first, holder, STOP_SECONDS)
            if holder.alive() or (first and first.alive()):
                raise LabError(f"The sandbox's process {holder.pid} does not end.")
        self.clean()

    def clean(self) -> list[str]:
        """Remove what a dead sandbox left; return the loop devices detached."""
        detached = loops.detach(self.state)
        self.holder_file.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        return detached

    def _wait_for(
        self,
        first: procfs.ProcessId | None,
        holder: procfs.ProcessId,
        seconds: float,
    ) -> None:
        """Wait until both processes have ended, or until ``seconds`` have passed."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._started is not None:
                self._started.poll()
            if not holder.alive() and not (first and first.alive()):
                return
            time.sleep(0.02)


def first_child(parent: int) -> procfs.ProcessId | None:
    """Return a child of process ``parent``, or None if it has none."""
    for entry in procfs.HOST_PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            return procfs.ProcessId.of(int(entry.name))
    return None


def _die_with_parent() -> None:
    """Ask the kernel to kill this process when the process that started it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
