# SPDX-License-Identifier: Apache-2.0
"""A tgtd that exports volumes, in the mount and network namespace of the process."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.integration.iscsi import iscsiadm

PORTAL = "127.0.0.1:3260"
START_SECONDS = 30.0
#: The size of each volume in bytes. Their files are sparse.
SIZE = 1024**3


class Target:
    """The volumes of a tgtd: each is LUN 1 of a separate iSCSI target."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ids: dict[str, int] = {}

    def file(self, volume: str) -> Path:
        """Return the file that holds a volume."""
        return self.folder / volume

    def add(self, volume: str, initiator: str = "ALL") -> None:
        """Create a volume and export it to one initiator, or to all."""
        with self.file(volume).open("wb") as file:
            file.truncate(SIZE)
        number = self._ids[volume] = 1 + len(self._ids)
        self._admin("target", "new", number, "--targetname", self.name(volume))
        lun = ("--lun", str(iscsiadm.LUN), "--backing-store", str(self.file(volume)))
        self._admin("logicalunit", "new", number, *lun)
        access = "--initiator-address" if initiator == "ALL" else "--initiator-name"
        self._admin("target", "bind", number, access, initiator)

    def name(self, volume: str) -> str:
        """Return the name of a volume's target."""
        return f"iqn.2026-01.org.example:{volume}"

    def connection_info(self, volume: str) -> dict[str, Any]:
        """Return the connection_info that Cinder would return for a volume."""
        return {
            "driver_volume_type": "iscsi",
            "serial": volume,
            "data": {
                "target_portal": PORTAL,
                "target_iqn": self.name(volume),
                "target_lun": iscsiadm.LUN,
                "volume_id": volume,
                "encrypted": False,
                "access_mode": "rw",
            },
        }

    def sessions(self) -> int:
        """Return the number of tgtd's sessions."""
        return self._admin("target", "show").count("Initiator: ")

    def _admin(self, mode: str, action: str, number: int = 0, *options: str) -> str:
        target = ("--tid", str(number)) if number else ()
        command = ("tgtadm", "--lld", "iscsi", "--mode", mode, "--op", action)
        return subprocess.run(
            [*command, *target, *options], check=True, capture_output=True, text=True
        ).stdout


@contextmanager
def running(folder: Path) -> Iterator[Target]:
    """Run tgtd; end it and all its sessions after the block."""
    _make_sys_writable(folder)
    _install_iscsiadm(folder / "bin")
    with (folder / "tgtd.log").open("wb") as log:
        tgtd = subprocess.Popen(
            ["tgtd", "--foreground", "--iscsi", f"portal={PORTAL}"],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    target = Target(folder)
    try:
        _wait_until_ready(target, tgtd)
        yield target
    finally:
        for session in iscsiadm.sessions():
            if session.open:
                session.logout()
        tgtd.kill()
        tgtd.wait()
        shutil.rmtree(iscsiadm.FOLDER, ignore_errors=True)


def _wait_until_ready(target: Target, tgtd: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            target.sessions()
            return
        except subprocess.CalledProcessError:
            if tgtd.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _make_sys_writable(folder: Path) -> None:
    """Mount an overlay over the parts of /sys that iscsiadm writes to."""
    for name in ("class", "block"):
        upper, work = folder / f"{name}.upper", folder / f"{name}.work"
        upper.mkdir()
        work.mkdir()
        options = f"lowerdir=/sys/{name},upperdir={upper},workdir={work}"
        mount = ["mount", "-t", "overlay", "-o", options, "overlay", f"/sys/{name}"]
        subprocess.run(mount, check=True)


def _install_iscsiadm(folder: Path) -> None:
    """Put this package's iscsiadm first on the PATH."""
    folder.mkdir()
    program = folder / "iscsiadm"
    program.write_text(
        f'#!/bin/sh\nexec {sys.executable} -IS {iscsiadm.__file__} "$@"\n'
    )
    program.chmod(0o755)
    os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"
