# SPDX-License-Identifier: Apache-2.0
"""The sha256 of disks and memory dumps, with progress; it can be interrupted."""

import hashlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_CHUNK = 4 * 1024**2
_SECONDS = 1.0
_MAGIC = {b"\x7fELF": "elf", b"make": "kdump", b"KDUM": "kdump"}


class Hasher:
    """Reads files and block devices, and shows on stderr how far it is.

    :param check: is called about once a second, and raises an error to end the work
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check

    def digest_of(self, path: str | None, name: str) -> str | None:
        """Return the sha256 of a file or a block device; None if there is none.

        A volume of a server that is off may not be connected.

        Errors of the check propagate.

        :param name: for the progress
        :raises OSError: if it cannot be read
        """
        self._check()
        if path is None or not Path(path).exists():
            return None
        digest = hashlib.sha256()
        with Path(path).open("rb", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            done, next_look = 0, time.monotonic() + _SECONDS
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                done += len(chunk)
                if time.monotonic() >= next_look:
                    next_look = time.monotonic() + _SECONDS
                    self._check()
                    self._show(f"sha256 of {name}: {100 * done // max(size, 1)} %")
        self._show("")
        return digest.hexdigest()

    def _show(self, text: str) -> None:
        if sys.stderr is not None and sys.stderr.isatty():
            print(f"\r{text:60}", end="" if text else "\r", file=sys.stderr, flush=True)


def described(path: str) -> dict[str, Any]:
    """Return the path, the size and the format of a memory dump.

    The others are None if the file is missing.

    :raises OSError: if it cannot be read
    """
    size = file_format = None
    try:
        with Path(path).open("rb") as file:
            file_format = _MAGIC.get(file.read(4))
            size = file.seek(0, os.SEEK_END)
    except FileNotFoundError:
        pass
    return {"path": path, "size_bytes": size, "format": file_format, "sha256": None}
