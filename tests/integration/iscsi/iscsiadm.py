# SPDX-License-Identifier: Apache-2.0
"""Replaces open-iscsi's iscsiadm, as far as os-brick calls it.

The arguments are the same; $ISCSI_FOLDER names the folder of the records. A session is
a qemu-storage-daemon process and has one LUN, 1. /sys/class and /sys/block must be
writable, and /dev private to the mount namespace.
"""

import argparse
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(os.environ["ISCSI_FOLDER"])
INITIATOR = "iqn.2026-01.org.example:host"
LUN = 1
# Exit status, see iscsiadm(8).
NO_OBJECTS = 21
LOGIN_FAILED = 8
LOGIN_SECONDS = 20.0


class Session:
    """The record of a node, and its session if it is logged in."""

    def __init__(self, portal: str, target: str) -> None:
        self.portal, self.target = portal, target
        self.folder = FOLDER / target.replace(":", "_")
        self.file = self.folder / "lun"
        self.pid = self.folder / "pid"

    @property
    def number(self) -> int:
        """The number of the host, of the session and of the disk."""
        return int((self.folder / "number").read_text())

    @property
    def disk(self) -> str:
        """The name of the session's disk."""
        return f"sdx{self.number}"

    @property
    def known(self) -> bool:
        """True if the node has a record."""
        return self.folder.is_dir()

    @property
    def open(self) -> bool:
        """Whether the session is open."""
        return self.pid.exists()

    def new(self) -> None:
        """Create the record."""
        number = 1 + max((session.number for session in sessions()), default=0)
        self.folder.mkdir(parents=True)
        (self.folder / "number").write_text(str(number))
        (self.folder / "portal").write_text(f"{self.portal} {self.target}")

    def login(self) -> bool:
        """Open the session and create its disk; return True if the target allows it."""
        self.file.touch()
        started = subprocess.run(
            [
                *("qemu-storage-daemon", "--daemonize", "--pidfile", str(self.pid)),
                "--blockdev",
                f"driver=iscsi,node-name=lun,transport=tcp,portal={self.portal},"
                f"target={self.target},lun={LUN},initiator-name={INITIATOR}",
                "--export",
                "type=fuse,id=file,node-name=lun,writable=on,allow-other=off,"
                f"mountpoint={self.file}",
            ],
            check=False,
            capture_output=True,
            timeout=LOGIN_SECONDS,
        )
        if started.returncode:
            self.pid.unlink(missing_ok=True)
            return False
        attached = subprocess.run(
            ["losetup", "--find", "--show", str(self.file)],
            check=True,
            capture_output=True,
            text=True,
        )
        self._show(Path(attached.stdout.strip()))
        return True

    def logout(self) -> None:
        """End the session and remove its disk, if os-brick has not removed it."""
        self.hide()
        os.kill(int(self.pid.read_text()), 15)
        deadline = time.monotonic() + LOGIN_SECONDS
        while self.pid.exists() and time.monotonic() < deadline:
            time.sleep(0.02)

    def _show(self, loop: Path) -> None:
        """Create what the kernel would show of a disk, for a loop device."""
        number = self.number
        session = f"host{number}/device/session{number}"
        address = f"{number}:0:0:{LUN}"
        for kind in ("iscsi_host", "scsi_host"):
            disk = Path("/sys/class", kind, session, f"target{number}:0:0", address)
            (disk / "block" / self.disk).mkdir(parents=True)
        device = Path("/sys/block", self.disk, "device")
        device.mkdir(parents=True)
        (device / "wwid").write_text(f"naa.{number:016x}\n")
        os.mknod(f"/dev/{self.disk}", stat.S_IFBLK | 0o600, loop.stat().st_rdev)
        for link in self._links():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(f"/dev/{self.disk}")
        (self.folder / "loop").write_text(str(loop))
        # The kernel removes a disk when 1 is written here. A process does it instead.
        os.mkfifo(device / "delete")
        subprocess.Popen(
            [sys.executable, "-IS", __file__, "--remove", self.portal, self.target],
            stdin=(device / "delete").open("r+b", buffering=0),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _links(self) -> tuple[Path, Path]:
        by_path = f"ip-{self.portal}-iscsi-{self.target}-lun-{LUN}"
        return (
            Path("/dev/disk/by-path", by_path),
            Path("/dev/disk/by-id", f"scsi-3{self.number:016x}"),
        )

    def hide(self) -> None:
        """Remove the disk, if there is one."""
        loop = self.folder / "loop"
        for link in self._links():
            link.unlink(missing_ok=True)
        Path(f"/dev/{self.disk}").unlink(missing_ok=True)
        if loop.exists():
            subprocess.run(["losetup", "--detach", loop.read_text()], check=False)
            loop.unlink(missing_ok=True)
        for kind in ("iscsi_host", "scsi_host"):
            shutil.rmtree(f"/sys/class/{kind}/host{self.number}", ignore_errors=True)
        shutil.rmtree(f"/sys/block/{self.disk}", ignore_errors=True)


def sessions() -> list[Session]:
    """Return a session for each record, in the order of their names."""
    return [
        Session(*path.read_text().split()) for path in sorted(FOLDER.glob("*/portal"))
    ]


def main() -> int:
    """Run the command in the arguments; return iscsiadm's exit status."""
    if sys.argv[1] == "--remove":
        os.read(0, 1)
        Session(*sys.argv[2:]).hide()
        return 0
    parser = argparse.ArgumentParser()
    for name in ("-m", "-T", "-p", "-n", "-v", "--op", "--interface"):
        parser.add_argument(name, default="")
    for name in ("--login", "--logout"):
        parser.add_argument(name, action="store_true")
    options, _others = parser.parse_known_args()
    if options.m == "session":
        for session in sessions():
            if session.open:
                portal = f"{session.portal},1 {session.target}"
                print(f"tcp: [{session.number}] {portal} (non-flash)")
        return 0
    if options.m == "discoverydb":
        for kind in ("SENDTARGETS", "iSNS", "STATIC", "FIRMWARE"):
            print(f"{kind}:\nNo targets found.")
        return 0
    if options.m != "node":
        return NO_OBJECTS
    if not options.T:
        for session in sessions():
            print(f"{session.portal},1 {session.target}")
        return 0
    return node_command(Session(options.p, options.T), options)


def node_command(session: Session, options: argparse.Namespace) -> int:
    """Run a command in mode node; return iscsiadm's exit status."""
    if options.op == "new":
        session.new()
    elif not session.known:
        print("iscsiadm: No records found", file=sys.stderr)
        return NO_OBJECTS
    elif options.login:
        return 0 if session.login() else LOGIN_FAILED
    elif options.logout and session.open:
        session.logout()
    elif options.op == "delete":
        shutil.rmtree(session.folder)
    elif options.n == "node.session.scan":
        # As releases without this setting: the login returns when the disk exists.
        print("iscsiadm: Cannot modify node.session.scan", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
