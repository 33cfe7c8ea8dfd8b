# SPDX-License-Identifier: Apache-2.0
"""The first process of the sandbox: makes private folders, then reaps processes.

``unshare`` runs this script as pid 1 of a new PID namespace. Everything mounted here
disappears with the mount namespace. When this process ends, the kernel ends every
other process in the namespace.
Arguments: a folder for files that must lie on disk, and the descriptor to write "ready"
to.
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

#: Folders whose paths are fixed in the daemons. Each that exists on the host gets a
#: private one in its place; no program of the lab uses the others.
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

#: name: (major, minor, mode), as udev makes them. /dev/kvm is left out on purpose: the
#: lab always emulates, and libvirt probes every machine type twice if there is one.
DEVICES = {
    "null": (1, 3, 0o666),
    "zero": (1, 5, 0o666),
    "full": (1, 7, 0o666),
    "random": (1, 8, 0o666),
    "urandom": (1, 9, 0o666),
    "tty": (5, 0, 0o666),
    "fuse": (10, 229, 0o666),
    "net/tun": (10, 200, 0o666),
    "loop-control": (10, 237, 0o660),
}
LOOP_MAJOR = 7
LOOP_DEVICES = 64

#: How long processes may take to end after SIGTERM before the kernel kills them.
GRACE_SECONDS = 3.0


def mount(*arguments: str) -> None:
    """Run mount(8)."""
    subprocess.run(["mount", *arguments], check=True)


def private_etc() -> None:
    """Mount a copy of /etc in memory over /etc, so that services may write there."""
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
    """Mount a /dev in memory over /dev, with the devices that the lab needs.

    The host does not see what is made here, such as the links in /dev/storpool. The
    nodes of loop devices are made now, because the kernel adds later ones only to the
    host's /dev.
    """
    mount("-t", "tmpfs", "-o", "mode=755,size=64m", "dev", "/dev")
    dev = Path("/dev")
    for folder in ("net", "pts", "shm", "mqueue"):
        (dev / folder).mkdir()
    nodes = [(name, stat.S_IFCHR, *device) for name, device in DEVICES.items()]
    nodes += [
        (f"loop{minor}", stat.S_IFBLK, LOOP_MAJOR, minor, 0o660)
        for minor in range(LOOP_DEVICES)
    ]
    for name, kind, major, minor, mode in nodes:
        os.mknod(dev / name, kind | mode, os.makedev(major, minor))
        (dev / name).chmod(mode)
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
    """Bind empty folders below ``root`` over the host's PRIVATE_FOLDERS."""
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
    """Give this mount, network and UTS namespace its private content."""
    # The sysfs of the host shows the network devices of the host.
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
    """Reap ended processes until a signal ends this one; never return."""
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            time.sleep(0.05)


def main(root: Path, report: int) -> None:
    """Fill the namespaces, write "ready" to descriptor ``report``, and reap."""
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    build(root)
    os.write(report, b"ready")
    os.close(report)
    reap()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
