# SPDX-License-Identifier: Apache-2.0
"""A machine with disks, and commands that answer for it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rescue_tools import RescueError
from rescue_tools.commands import Commands


def device(path: str, kind: str = "part", **values: Any) -> dict[str, Any]:
    """Return a device as lsblk prints it."""
    return {
        "path": path,
        "kname": path.rpartition("/")[2],
        "type": kind,
        "size": 10 * 1024**3,
        "mountpoints": [None],
        **values,
    }


def own_disk(**values: Any) -> dict[str, Any]:
    """Return the disk of the rescue system."""
    part = device("/dev/sda3", fstype="squashfs", **values)
    return device("/dev/sda", "disk", children=[part])


def _flat(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield {key: value for key, value in row.items() if key != "children"}
        yield from _flat(row.get("children", []))


class FakeCommands(Commands):
    """Commands of a machine that has given disks, and keeps what was run.

    :ivar ran: the commands that were to change something
    :ivar outputs: what a command prints, by its first word and any of its arguments
    :ivar contents: the folders that file systems hold, by device
    :ivar broken: commands that fail
    """

    def __init__(self, *disks: dict[str, Any]) -> None:
        self.disks = list(disks)
        self.ran: list[str] = []
        self.outputs: dict[tuple[str, str], str] = {}
        self.contents: dict[str, Path] = {}
        self.broken: set[str] = set()

    def look(self, *words: str) -> str:
        if words[0] == "lsblk":
            columns = words[words.index("--output") + 1].split(",")
            # As lsblk does, which draws its tree in the column NAME.
            rows = self.disks if "NAME" in columns else list(_flat(self.disks))
            return json.dumps({"blockdevices": rows})
        for (command, argument), output in self.outputs.items():
            if words[0] == command and argument in words:
                return output
        return ""

    def run(self, *words: str) -> None:
        command = " ".join(words)
        self.ran.append(command)
        if command in self.broken:
            raise RescueError(f"{words[0]} failed with status 1")
        if words[0] == "mount" and words[-2] in self.contents:
            shutil.copytree(
                self.contents[words[-2]], words[-1], dirs_exist_ok=True, symlinks=True
            )
        if words[0] == "umount" and words[1] != "--recursive":
            shutil.rmtree(words[1])
            Path(words[1]).mkdir()


def write(root: Path, files: dict[str, str]) -> Path:
    """Write files below a folder; return the folder."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root
