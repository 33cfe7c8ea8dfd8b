# SPDX-License-Identifier: Apache-2.0
"""A real tgtd with volumes in files, in this mount and network namespace."""

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
SIZE = 1024**3  # of each volume, in bytes; the files are sparse


class Target:
    """The target's volumes: each has a target of its own, with LUN 1."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ids: dict[str, int] = {}

    def file(self, volume: str) -> Path:
        """Return the file that holds a volume."""
        return self.folder / volume

    def add(self, volume: str, initiator: str = "ALL") -> None:
        """Export a volume to hosts; to none but another initiator's if so told."""
        with self.file(volume).open("wb") as file:
            file.truncate(SIZE)
        number = self._ids[volume] = 1 + len(self._ids)
        self._admin("target", "new", number, "--targetname", self.name(volume))
        store = ("--lun", str(iscsiadm.LUN), "--backing-store", str(self.file(volume)))
        self._admin("logicalunit", "new", number, *store)
        access = "--initiator-address" if initiator == "ALL" else "--initiator-name"
        self._admin("target", "bind", number, access, initiator)

    def name(self, volume: str) -> str:
        """Return a volume's target name."""
        return f"iqn.2026-01.org.example:{volume}"

    def connection_info(self, volume: str) -> dict[str, Any]:
        """Return what Cinder would tell of a volume."""
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
        """Return how many sessions tgtd has."""
        shown = self._admin("target", "show")
        return shown.count("Initiator: ")

    def _admin(self, mode: str, action: str, number: int = 0, *more: str) -> str:
        which = ("--tid", str(number)) if number else ()
        command = ("tgtadm", "--lld", "iscsi", "--mode", mode, "--op", action)
        done = subprocess.run(
            [*command, *which, *more], check=True, capture_output=True, text=True
        )
        return done.stdout


@contextmanager
def running(folder: Path) -> Iterator[Target]:
    """Run tgtd; end it, and what of its sessions is left, behind the block."""
    for name in ("class", "block"):
        upper, work = folder / f"{name}.upper", folder / f"{name}.work"
        upper.mkdir()
        work.mkdir()
        options = f"lowerdir=/sys/{name},upperdir={upper},workdir={work}"
        mount = ["mount", "-t", "overlay", "-o", options, "overlay", f"/sys/{name}"]
        subprocess.run(mount, check=True)
    programs = folder / "bin"
    programs.mkdir()
    program = programs / "iscsiadm"
    program.write_text(
        f'#!/bin/sh\nexec {sys.executable} -IS {iscsiadm.__file__} "$@"\n'
    )
    program.chmod(0o755)
    os.environ["PATH"] = f"{programs}:{os.environ['PATH']}"
    with (folder / "tgtd.log").open("wb") as log:
        tgtd = subprocess.Popen(
            ["tgtd", "--foreground", "--iscsi", f"portal={PORTAL}"],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    target = Target(folder)
    try:
        _wait_for(target, tgtd)
        yield target
    finally:
        for session in iscsiadm.sessions():
            if session.open:
                session.logout()
        tgtd.kill()
        tgtd.wait()
        shutil.rmtree(iscsiadm.FOLDER, ignore_errors=True)


def _wait_for(target: Target, tgtd: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            target.sessions()
            return
        except subprocess.CalledProcessError:
            if tgtd.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
