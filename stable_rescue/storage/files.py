# SPDX-License-Identifier: Apache-2.0
"""Files that are whole or not there, whatever is killed when."""

import contextlib
import os
from pathlib import Path

from stable_rescue import steps


def write(path: Path, text: str) -> None:
    """Write a file atomically, mode 0600, on the disk when it returns.

    What a killed process leaves is overwritten, or goes with the file (remove).

    :raises OSError: where it cannot be written; what was there before stays
    """
    try:
        _write_beside(path, text)
        put_in_place(path)
    except Exception:
        with contextlib.suppress(OSError):
            beside(path).unlink(missing_ok=True)
        raise


@steps.changes("remove a file")
def remove(path: Path) -> None:
    """Remove a file; one that is not there is no error."""
    for each in (beside(path), path):
        each.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        _sync_folder(path.parent)


def beside(path: Path) -> Path:
    """Return where a file is made before it is put in its place, of the same folder."""
    return path.with_name(f".{path.name}.new")


@steps.changes("write a file beside its place")
def _write_beside(path: Path, text: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with os.fdopen(os.open(beside(path), flags, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


@steps.changes("put a file in its place")
def put_in_place(path: Path) -> None:
    """Put what was made beside a file in the file's place.

    :raises OSError: where there is nothing, or it cannot be done
    """
    beside(path).replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
