# SPDX-License-Identifier: Apache-2.0
"""Mount, network, PID and UTS namespaces that hold a lab, or a test's libvirtd.

On the host no port, mount, socket or file outside the state folder is touched. Ending
the namespaces' first process ends everything in them. Stand-alone use::

    python -m lab.sandbox --state DIR [--libvirtd] -- COMMAND ...

runs COMMAND in a sandbox of its own, returns its exit status and leaves nothing behind.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab import loops, procfs
from lab.errors import LabError

REPOSITORY = Path(__file__).resolve().parent.parent
START_SECONDS = 30.0
STOP_SECONDS = 20.0
#: For a command that is asked to end: it may have servers to delete.
CLEAN_UP_SECONDS = 120.0
PR_SET_PDEATHSIG = 1


class Sandbox:
    """The namespaces whose files lie in ``state``; they exist while its holder runs."""

    def __init__(self, state: Path) -> None:
        self.state = state.resolve()
        self.folder = self.state / "sandbox"
        self.holder_file = self.state / "sandbox.pid"

    # -- is it there, are we in it ------------------------------------------------

    def holder(self) -> procfs.ProcessId | None:
        """Return the host's process that holds the namespaces; None if not running."""
        identity = procfs.ProcessId.read(self.holder_file)
        return identity if identity and identity.alive() else None

    def inside(self) -> bool:
        """Return whether this very process runs in the sandbox."""
        try:
            here = Path("/proc/self/ns/mnt").readlink()
            return (self.folder / "mnt").read_text() == str(here)
        except OSError:
            return False

    def running(self) -> bool:
        """Return whether commands can be run in the sandbox."""
        return self.inside() or self.holder() is not None

    @property
    def proc(self) -> Path:
        """The /proc that shows the sandbox's processes under their own pids."""
        if self.inside():
            return procfs.HOST_PROC
        holder = self.holder()
        # No holder, no processes: an empty place to look for them.
        return Path(f"/proc/{holder.pid}/root/proc") if holder else Path("/nonexistent")

    # -- life ---------------------------------------------------------------------

    def start(self, *, die_with_parent: bool = False) -> None:
        """Create the namespaces; nothing happens if they exist.

        Raises LabError where this user or kernel cannot.
        """
        if self.running():
            return
        if os.geteuid() != 0:
            raise LabError("The sandbox needs root for its namespaces: use sudo.")
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
                    *(sys.executable, str(REPOSITORY / "lab" / "sandbox_init.py")),
                    *(str(self.folder), str(writing)),
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
        # Not to the end of file: unshare keeps the pipe open as long as it lives.
        ready = os.read(reading, 16) == b"ready"
        os.close(reading)
        identity = procfs.ProcessId.of(process.pid)
        if not ready or identity is None:
            process.kill()
            process.wait(STOP_SECONDS)
            raise LabError(
                f"The namespaces cannot be made:\n{log.read_text().strip()}\n"
                "Mount, network and PID namespaces are needed: run as root, and not in"
                " a container without CAP_SYS_ADMIN."
            )
        namespace = Path(f"/proc/{process.pid}/ns/mnt").readlink()
        (self.folder / "mnt").write_text(str(namespace))
        identity.write(self.holder_file)
        self._process = process  # so that stop() reaps it

    def stop(self) -> None:
        """End every process and with them every mount and interface; idempotent."""
        holder = self.holder()
        if holder is not None:
            first = _first_child(holder.pid)
            if first is not None:
                _signal(first, signal.SIGTERM)
                self._wait_for(first, holder, STOP_SECONDS / 2)
            _signal(holder, signal.SIGKILL)  # takes the first process with it
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
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            process = getattr(self, "_process", None)
            if process is not None:
                process.poll()
            if not holder.alive() and not (first and first.alive()):
                return
            time.sleep(0.02)

    # -- use ----------------------------------------------------------------------

    def enter(self, cwd: Path | None = None) -> list[str]:
        """Return the words to put before a command so that it runs in the sandbox."""
        if self.inside():
            return []
        holder = self.holder()
        if holder is None:
            raise LabError("The lab is not running: start it with `tools/lab up`.")
        return [
            *("nsenter", f"--target={holder.pid}", "--mount", "--net", "--uts"),
            f"--pid=/proc/{holder.pid}/ns/pid_for_children",
            # Back into the root, where that is a chroot, and the working directory.
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
        """Run ``argv`` in the sandbox; ``env`` is added to the environment."""
        command = [*self.enter(cwd), *argv]
        where = cwd if self.inside() else None
        environment = {**inherited(), **(env or {})}
        return subprocess.Popen(command, cwd=where, env=environment, **options)

    def call(self, argv: Sequence[str], **options: Any) -> int:
        """Run ``argv`` in the sandbox; return its exit status.

        Where this process is asked to end, ``argv`` is, too, and gets time to clean up.
        """
        # What a shell starts in the background ignores SIGINT, and passes that on.
        process = self.popen(["env", "--default-signal=INT", *argv], **options)
        try:
            return process.wait()
        except KeyboardInterrupt:
            # The terminal has told it, too.
            _wait(process)
            raise
        except SystemExit:
            # nsenter forwards no signal.
            of = procfs.ProcessId.of if self.inside() else _first_child
            inner = of(process.pid)
            if inner is not None:
                _signal(inner, signal.SIGINT)
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

        Raises LabError, with the output, if it fails (unless ``check`` is false) or
        takes longer than ``seconds``.
        """
        # nsenter forwards no signal, so the time limit has to be kept inside.
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
                if process.returncode in (124, 137)
                else f"failed with status {process.returncode}"
            )
            said = (errors.strip() or output.strip())[-4000:]
            raise LabError(f"{' '.join(argv)}\n{reason}:\n{said}")
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
        """Start ``argv`` in the background, a session of its own, and return.

        Its output is appended to ``log``; its pid, as seen in the sandbox, goes to
        ``pid_file``. Raises LabError if it cannot be executed.
        """
        path = {"PYTHONPATH": str(REPOSITORY)}
        # daemonize needs our path, the command must not get it.
        wanted = {**inherited(), **(env or {})}
        if "PYTHONPATH" in wanted:
            back = [f"PYTHONPATH={wanted['PYTHONPATH']}"]
        else:
            back = ["-u", "PYTHONPATH"]
        self.run(
            [
                *(sys.executable, "-m", "lab.daemonize", str(pid_file), str(log)),
                *("--", "env", *back, *argv),
            ],
            cwd=cwd,
            env={**(env or {}), **path},
            seconds=30,
        )

    def alive(self, pid_file: Path) -> bool:
        """Return whether the process that ``spawn`` noted in ``pid_file`` runs."""
        identity = procfs.ProcessId.read(pid_file)
        return identity is not None and identity.alive(self.proc)

    def terminate(self, pid_file: Path, seconds: float = 10) -> None:
        """End the process of ``pid_file`` and its session: TERM, later KILL."""
        identity = procfs.ProcessId.read(pid_file)
        if identity is not None and identity.alive(self.proc):
            pid = str(identity.pid)
            self.run(["kill", "-TERM", pid], check=False)
            deadline = time.monotonic() + seconds
            while identity.alive(self.proc) and time.monotonic() < deadline:
                time.sleep(0.05)
            # What is left of its process group, too: uwsgi's or Erlang's children.
            self.run(["kill", "-KILL", "--", f"-{pid}"], check=False)
        pid_file.unlink(missing_ok=True)


def inherited() -> dict[str, str]:
    """Return the environment without what cannot hold in a sandbox.

    No proxy is reached from its loopback. The daemons' folders are added to the path,
    where ``su`` leaves them out.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy")
    }
    return kept | {"PATH": f"{kept.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"}


def _die_with_parent() -> None:
    """Have the kernel kill this process when the one that started it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _first_child(parent: int) -> procfs.ProcessId | None:
    """Return the only child of process ``parent``, or None."""
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


def _wait(process: subprocess.Popen[Any]) -> None:
    """Give a process that has been asked to end its time for that."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(CLEAN_UP_SECONDS)


def exit_when_told() -> None:
    """Have SIGTERM and SIGHUP end this process as an exception does: with clean-up.

    Below nohup, SIGHUP stays ignored.
    """

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, leave)


def _signal(process: procfs.ProcessId, number: signal.Signals) -> None:
    """Send a signal to ``process`` if it is still that one."""
    if process.alive():
        os.kill(process.pid, number)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command in a sandbox of its own and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.sandbox", description="Run a command in a sandbox."
    )
    parser.add_argument("--state", type=Path, required=True, help="private folder")
    parser.add_argument(
        "--libvirtd", action="store_true", help="with virtlogd and libvirtd running"
    )
    parser.add_argument("command", nargs="+", metavar="-- COMMAND")
    options = parser.parse_args(arguments)
    options.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    sandbox = Sandbox(options.state)
    if sandbox.running():
        parser.error(f"a sandbox is running in {options.state}")

    exit_when_told()
    try:
        sandbox.start(die_with_parent=True)
        if options.libvirtd:
            _start_libvirtd(options.state)
        return sandbox.popen(options.command).wait()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except LabError as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 125
    finally:
        sandbox.stop()


def _start_libvirtd(state: Path) -> None:
    """Start the lab's libvirtd, and nothing else, in the sandbox of ``state``."""
    # Imported late: services know sandboxes, not the other way round.
    from lab.config import Lab
    from lab.services import libvirtd

    libvirtd.start_alone(Lab(state))


if __name__ == "__main__":
    sys.exit(main())
