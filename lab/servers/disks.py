# SPDX-License-Identifier: Apache-2.0
"""A server's disks as programs on the host see them.

A mark is a block filled with one byte, at a place where no guest of the lab writes.
"""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

from lab.servers.host import run

MARK_LENGTH = 4096  # bytes
#: In the middle of a disk of 1 GiB, and in the middle of a swap disk of 64 MiB.
MARK_OFFSET, SWAP_MARK_OFFSET = 512 * 1024**2, 32 * 1024**2
SECONDS = 60.0
#: qemu-io prints this if it has read something other than the pattern.
MISMATCH = "Pattern verification failed"


@dataclass(frozen=True)
class Disk:
    """A disk of a definition."""

    target: str
    format: str
    url: str  # how qemu-io opens the disk
    writable: bool

    def mark(self, byte: int) -> None:
        """Write the mark; the guest must be off.

        :raises subprocess.CalledProcessError: if the mark cannot be written
        """
        command = f"write -P {byte} {self._offset} {MARK_LENGTH}"
        self._qemu_io([], command).check_returncode()

    def has_mark(self, byte: int) -> bool:
        """Return True if the mark is on the disk; the guest may run.

        A disk that cannot be read is tried again: its storage may just have restarted.
        """
        command = f"read -P {byte} {self._offset} {MARK_LENGTH}"
        deadline = time.monotonic() + SECONDS
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                result = self._qemu_io(["--force-share", "--read-only"], command)
                if MISMATCH in result.stdout + result.stderr:
                    return False
                if result.returncode == 0:
                    return True
            if time.monotonic() > deadline:
                return False
            time.sleep(1)

    def digest(self) -> str:
        """Return a hash of the file, for a config drive, which has no mark."""
        return hashlib.sha256(Path(self.url).read_bytes()).hexdigest()

    def sha256sum(self) -> str:
        """Return what sha256sum prints of the whole disk, or of the file that it is in.

        :raises subprocess.CalledProcessError: if the disk cannot be read
        """
        if not self.url.startswith("rbd:"):
            return run("sha256sum", "--", self.url).split()[0]
        image, _, user = self.url.removeprefix("rbd:").partition(":id=")
        export = ["rbd", "--id", user, "--no-progress", "export", image, "-"]
        with subprocess.Popen(export, stdout=subprocess.PIPE) as process:
            printed = subprocess.run(
                ["sha256sum"],
                stdin=process.stdout,
                capture_output=True,
                text=True,
                check=True,
                timeout=SECONDS,
            ).stdout
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, export)
        return printed.split()[0]

    @property
    def _offset(self) -> int:
        return SWAP_MARK_OFFSET if self.url.endswith("disk.swap") else MARK_OFFSET

    def _qemu_io(
        self, options: Iterable[str], command: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["qemu-io", *options, "-f", self.format, "-c", command, self.url],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )


def disks_of(definition: str) -> list[Disk]:
    """Return the disks of a definition that have a source."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    domain = etree.fromstring(definition.encode(), parser)
    disks = []
    for disk in domain.iterfind("devices/disk"):
        url = _url(disk)
        if url:
            disks.append(
                Disk(
                    disk.find("target").get("dev"),
                    disk.find("driver").get("type"),
                    url,
                    disk.find("readonly") is None and disk.get("device") == "disk",
                )
            )
    return disks


def _url(disk: etree._Element) -> str:
    """Return how qemu-io opens a disk, "" if the disk has no source."""
    source = disk.find("source")
    if source is None:
        return ""
    match disk.get("type"):
        case "file":
            return str(source.get("file"))
        case "block":
            return str(source.get("dev"))
        case "network":
            user = disk.find("auth")
            name = f"{source.get('protocol')}:{source.get('name')}"
            return name if user is None else f"{name}:id={user.get('username')}"
    return ""
