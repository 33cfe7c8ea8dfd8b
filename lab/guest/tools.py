# SPDX-License-Identifier: Apache-2.0
"""Runs the programs that build the guest images."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab.errors import LabError

#: The modification time of every file in every image: 2024-01-01, in Unix time.
EPOCH = 1704067200


class GuestBuildError(LabError):
    """The guest images could not be built; the message says what to do."""


def run(
    command: Sequence[str | Path], cwd: Path | None = None, stdin: bytes | None = None
) -> bytes:
    """Return what `command` prints.

    :raises GuestBuildError: if `command` is not installed, or fails; with its output
    """
    words = [str(word) for word in command]
    environ = {
        **os.environ,
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "SOURCE_DATE_EPOCH": str(EPOCH),
        "MTOOLS_SKIP_CHECK": "1",
    }
    try:
        completed = subprocess.run(
            words, cwd=cwd, input=stdin, capture_output=True, env=environ, timeout=600
        )
    except FileNotFoundError as error:
        raise GuestBuildError(
            f"{words[0]} not found: install the packages of lab.guest.APT_PACKAGES"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise GuestBuildError(f"{words[0]} did not end within 600 s") from error
    if completed.returncode:
        output = completed.stderr.decode(errors="replace").strip()
        raise GuestBuildError(f"{' '.join(words)} failed: {output}")
    return completed.stdout


def stamp(tree: Path) -> None:
    """Give every file below `tree` the same time stamp, for reproducible images."""
    for path in [tree, *tree.rglob("*")]:
        os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)
