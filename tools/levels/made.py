# SPDX-License-Identifier: Apache-2.0
"""Which environments of tox need not be made again.

tox builds the package each time to see what it requires, and setuptools then looks at
every file below .tox. That takes 10 s before the first test.
"""

import hashlib
from pathlib import Path

from levels import ROOT, TOX

#: What an environment is made from. The package is installed editable, so a change of
#: its modules needs no new environment.
SOURCES = (
    "tox.ini",
    "setup.cfg",
    "setup.py",
    "pyproject.toml",
    "requirements.txt",
    "tests/requirements.txt",
)


def is_current(level: str) -> bool:
    """Return True if the environment of a level was made from the present sources."""
    try:
        return _note_of(level).read_text() == _digest()
    except FileNotFoundError:
        return False


def note(level: str) -> None:
    """Note that the environment of a level has been made."""
    _note_of(level).write_text(_digest())


def _note_of(level: str) -> Path:
    """Return a file in the environment, which tox removes with the environment."""
    return TOX / level / "made_from"


def _digest() -> str:
    # An environment holds the path of the project, which may be moved.
    digest = hashlib.sha256(bytes(ROOT))
    for name in SOURCES:
        digest.update(hashlib.sha256((ROOT / name).read_bytes()).digest())
    return digest.hexdigest()
