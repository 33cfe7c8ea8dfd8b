# SPDX-License-Identifier: Apache-2.0
"""Find and detach the loop devices of one lab.

Loop devices have no namespace: every lab on a machine sees the devices of the others.
"""

from __future__ import annotations

import subprocess
from pathlib import Path


def _listing() -> list[tuple[str, str]]:
    """Return (device, backing file) of every loop device in use."""
    completed = subprocess.run(
        ["losetup", "--list", "--noheadings", "--raw", "--output", "NAME,BACK-FILE"],
        check=True,
        capture_output=True,
        text=True,
    )
    rows = (line.partition(" ") for line in completed.stdout.splitlines())
    return [(name, file.replace("\\x20", " ")) for name, _, file in rows]


def backed_by(folder: Path) -> list[str]:
    """Return the loop devices whose backing file lies, or lay, below ``folder``.

    Devices of another sandbox whose state folder lies below ``folder`` are left out.
    """
    folder = folder.resolve()
    return [name for name, file in _listing() if _owner(Path(file), folder) == folder]


def _owner(file: Path, folder: Path) -> Path | None:
    """Return the state folder that ``file`` belongs to: ``folder`` or one below it."""
    if folder not in file.parents:
        return None
    inner = file.parents[: file.parents.index(folder)]
    return next((path for path in inner if (path / "sandbox.pid").exists()), folder)


def detach(folder: Path) -> list[str]:
    """Detach the loop devices of files below ``folder`` and return their names."""
    devices = backed_by(folder)
    for device in devices:
        subprocess.run(["losetup", "--detach", device], check=True)
    return devices
