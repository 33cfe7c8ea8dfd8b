# SPDX-License-Identifier: Apache-2.0
"""The first process of the lab's namespaces: private folders, then reaping.

``unshare`` runs it as pid 1 of a fresh PID namespace. Everything it mounts lives in the
mount namespace and is gone with it; when it ends, so does every other process in there.
Arguments: a folder for what must lie on disk, the descriptor to report readiness on.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

HOSTNAME = "lab"

#: Folders that daemons insist on (LAB.md, "Machine"). Private where the host has them;
#: one that it has not got, nobody here uses.
PRIVATE_FOLDERS = (
    "/var/lib/libvirt",
    "/var/log/libvirt",
    "/var/cache/libvirt",
    "/var/lib/openvswitch",
    "/var/log/openvswitch",
    "/var/lib/ceph",
    "/var/log/ceph",
    "/var/lib/rabbitmq",
    "/var/log/rabbitmq",
)

RUN_FOLDERS = ("lock", "libvirt", "openvswitch", "ceph", "user", "log")

#: name: (major, minor). /dev/kvm is left out on purpose: the lab always emulates, and
#: libvirt probes every machine type twice where it finds one.
DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
    "fuse": (10, 229),
    "net/tun": (10, 200),
    "loop-control": (10, 237),
}
LOOP_MAJOR = 7
LOOP_DEVICES = 64

#: How long processes may take to end after TERM before the kernel kills them.
GRACE_SECONDS = 3.0


def mount(*arguments: str) -> None:
    """Run mount(8)."""
    subprocess.run(["mount", *arguments], check=True)


def private_etc() -> None:
    """Put a copy of /etc in memory over /etc: services may write what they like."""
    staging = Path("/run/etc")
    staging.mkdir()
    subprocess.run(["cp", "-a", "/etc/.", str(staging)], check=True)
    mount("-t", "tmpfs", "-o", "mode=755", "etc", "/etc")
    subprocess.run(["cp", "-a", f"{staging}/.", "/etc"], check=True)
    shutil.rmtree(staging)
    Path("/etc/hostname").write_text(f"{HOSTNAME}\n")
    Path("/etc/hosts").write_text(f"127.0.0.1 localhost {HOSTNAME}\n::1 localhost\n")
    subprocess.run(["hostname", HOSTNAME], check=True)


def private_dev() -> None:
    """Put a /dev in memory over /dev, with the devices the lab needs.

    What is made here (/dev/storpool's links, say) is seen by nobody else. Nodes of loop
    devices exist beforehand, because the kernel adds them to its own /dev only.
    """
    mount("-t", "tmpfs", "-o", "mode=755,size=64m", "dev", "/dev")
    dev = Path("/dev")
    for folder in ("net", "pts", "shm", "mqueue"):
        (dev / folder).mkdir()
    nodes = [(name, stat.S_IFCHR, number) for name, number in DEVICES.items()]
    nodes += [
        (f"loop{minor}", stat.S_IFBLK, (LOOP_MAJOR, minor))
        for minor in range(LOOP_DEVICES)
    ]
    for name, kind, number in nodes:
        os.mknod(dev / name, kind | 0o666, os.makedev(*number))
        (dev / name).chmod(0o666)
    for name, target in (
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ):
        (dev / name).symlink_to(target)
    mount("-t", "devpts", "-o", "newinstance,ptmxmode=0666,mode=620", "pts", "/dev/pts")
    mount("-t", "tmpfs", "-o", "mode=1777", "shm", "/dev/shm")


def private_folders(root: Path) -> None:
    """Bind empty folders of the lab's over the host's."""
    for target in map(Path, PRIVATE_FOLDERS):
        if not target.is_dir():
            continue
        private = root / target.relative_to("/")
        private.mkdir(parents=True)
        shutil.copystat(target, private)
        owner = target.stat()
        os.chown(private, owner.st_uid, owner.st_gid)
        mount("--bind", str(private), str(target))


def build(root: Path) -> None:
    """Make this mount, network and UTS namespace the lab's own."""
    # The host's sysfs shows the host's network devices.
    mount("-t", "sysfs", "sysfs", "/sys")
    mount("-t", "tmpfs", "-o", "mode=755", "run", "/run")
    for folder in RUN_FOLDERS:
        (Path("/run") / folder).mkdir()
    private_etc()
    private_dev()
    private_folders(root)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def end(_signal: int, _frame: object) -> None:
    """End every other process, then this one."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    deadline = time.monotonic() + GRACE_SECONDS
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGTERM)
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.02)
    os._exit(0)


def reap() -> None:
    """Collect the dead until told to end; never returns."""
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            time.sleep(0.05)


def main(root: Path, report: int) -> None:
    """Build the namespaces, say so on descriptor ``report``, and stay."""
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    build(root)
    os.write(report, b"ready")
    os.close(report)
    reap()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
