# SPDX-License-Identifier: Apache-2.0
"""The files of a rescue in an instance's directory."""

import contextlib
from pathlib import Path

from stable_rescue.storage import files, kernel, medium, nvram, store

#: The names of the files. The record is last: it shows that work is left.
NAMES = (*medium.NAMES, *kernel.NAMES, nvram.NAME, *store.NAMES)


def files_in(directory: Path) -> list[Path]:
    """Return the files of a rescue, and their temporary files, in a directory.

    :raises OSError: if the directory cannot be read; a missing one is no error
    """
    present: set[str] = set()
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        present.update(path.name for path in directory.iterdir())
    paths = [directory / name for name in NAMES]
    both = (each for path in paths for each in (files.temporary_path(path), path))
    return [path for path in both if path.name in present]
