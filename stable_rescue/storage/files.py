# SPDX-License-Identifier: Apache-2.0
"""Files that are either complete or missing, even if the process is killed."""

import contextlib
import os
from pathlib import Path

from stable_rescue import steps


def write(path: Path, text: str) -> None:
    """Write a file atomically, with mode 0600, and flush it to the disk.

    The temporary file of a killed process is overwritten by the next write, or removed
    by :func:`remove`.

    :raises OSError: if the file cannot be written; its old content is kept
    """
    try:
        _write_temporary(path, text)
        move_into_place(path)
    except Exception:
        with contextlib.suppress(OSError):
            temporary_path(path).unlink(missing_ok=True)
        raise


def write_aside(path: Path, text: str) -> None:
    """Write a file as :func:`write` does, but not as steps of a rescue.

    A rescue does not depend on such a file. After a power failure, the file may be as
    it was before, because its folder is not flushed.

    :raises OSError: if the file cannot be written; its old content is kept
    """
    _write_and_flush(temporary_path(path), text)
    temporary_path(path).replace(path)


@steps.changes("remove a file")
def remove(path: Path) -> None:
    """Remove a file and its temporary file; a missing one is no error.

    :raises OSError: if a file cannot be removed
    """
    for each in (temporary_path(path), path):
        each.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        _sync_folder(path.parent)


def flush(path: Path) -> None:
    """Flush a file that was made by another program to the disk, and its folder.

    :raises OSError: if the file cannot be flushed
    """
    _sync(path)
    _sync_folder(path.parent)


def temporary_path(path: Path) -> Path:
    """Return the path, in the same folder, under which a file is written first."""
    return path.with_name(f".{path.name}.new")


@steps.changes("write a temporary file")
def _write_temporary(path: Path, text: str) -> None:
    _write_and_flush(temporary_path(path), text)


@steps.changes("move a file into place")
def move_into_place(path: Path) -> None:
    """Rename the temporary file of a path to the path.

    :raises OSError: if there is no temporary file, or it cannot be renamed
    """
    temporary_path(path).replace(path)
    _sync_folder(path.parent)


def _write_and_flush(path: Path, text: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    _sync(folder, os.O_DIRECTORY)


def _sync(path: Path, flags: int = 0) -> None:
    descriptor = os.open(path, os.O_RDONLY | flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
