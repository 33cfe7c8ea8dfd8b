# SPDX-License-Identifier: Apache-2.0
"""Run commands."""

import os
import subprocess
from pathlib import Path

from releases import ReleaseError

# In seconds, far above what a step needs: installing packages takes longest.
_TIMEOUT = 900
# Git trusts a tree of any owner.
_GIT = {
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
}


def run(*command: str | Path, cwd: Path, **environ: str) -> str:
    """Return what a command prints.

    :param environ: environment variables to set
    :raises ReleaseError: if the command fails; the message has its output
    """
    words = [str(word) for word in command]
    process = subprocess.run(
        words,
        cwd=cwd,
        # A virtual environment has no use for the modules of another one.
        env={**os.environ, **_GIT, "PYTHONPATH": "", **environ},
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )
    if process.returncode:
        output = process.stdout + process.stderr
        raise ReleaseError(f"{' '.join(words)} failed:\n{output}")
    return process.stdout
